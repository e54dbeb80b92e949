//! Cluster DNS: what CoreDNS answers, as a function of the cluster's objects and its Corefile.
//!
//! [`Zone`] holds Services, their endpoints, namespaces and pods, indexed so that an update of one Service and an
//! answer cost the same however many Services there are. [`Server`] takes DNS messages and returns replies: the plugins
//! of a [`Corefile`] over one zone, with that server's own cache. [`Reason`] says which rule decided.
//!
//! Left out: zone transfers, DNSSEC, prefetch, plugins that [`Corefile`] does not know. Source: kubernetes.md 5.1 to 5.3
//! (DNS specification 1.1.0 and CoreDNS).

mod answer;
mod autopath;
mod cache;
mod corefile;
mod forward;
mod forwarder;
mod kubernetes;
mod message;
mod question;
mod reason;
mod records;
mod rewrite;
mod server;
mod upstream;
mod zone;

#[cfg(test)]
mod tests;

pub use cache::CacheOptions;
pub use corefile::{Corefile, CorefileError, Ignored, ServerBlock};
pub use forwarder::{Forwarder, Query as ForwardedQuery};
pub use message::Transport;
pub use reason::Reason;
pub use server::{Explanation, Server};
pub use upstream::{SharedUpstream, Upstream, UpstreamName};
pub use zone::{Endpoint, Options, PodMode, Port, Service, ServiceKind, Slice, Zone};

/// Whole seconds of a duration in Go's notation (`90s`, `1m30s`, `1h`); `None` for anything else.
pub fn go_duration_s(text: &str) -> Option<u32> {
    let (mut total, mut number, mut any) = (0_u32, String::new(), false);
    for character in text.chars() {
        let unit_s = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u32>().ok()?.checked_mul(unit_s)?)?;
        (number, any) = (String::new(), true);
    }
    (any && number.is_empty()).then_some(total)
}
