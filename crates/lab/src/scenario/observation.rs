//! Looks from a place: a connection or a look-up, at a time or again and again, and what has to come of it.

use std::net::IpAddr;

use hopwise_client::HostPort;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::when::WhenFields;
use super::{Duration, When, Window};
use crate::place::Place;
use crate::probe::Transport;
use crate::report::check::Outcome;

/// From one look to the next, unless the observation says otherwise.
const EVERY: Duration = Duration(hopwise_engine::Span::from_secs(1));

/// A look, and what has to come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ObservationFields", into = "ObservationFields")]
pub struct Observation {
    /// When.
    pub when: When,
    /// From one look to the next, within a window.
    pub every: Duration,
    /// Where the client stands.
    pub from: Place,
    /// At what.
    pub look: Look,
}

/// What is looked at, and what has to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// A connection.
    Connect {
        /// To what.
        to: HostPort,
        /// By which protocol.
        transport: Transport,
        /// How it ends.
        outcome: Option<Outcome>,
        /// The pods of which one takes it, as `namespace/name`.
        served_by: Option<Vec<String>>,
        /// The client's address as the server sees it.
        source: Option<Address>,
    },
    /// A look-up of a name's addresses.
    Resolve {
        /// The name.
        name: String,
        /// The response code of the last reply, or `TIMEOUT`, or `REFUSED` where the server's port was closed.
        rcode: Option<String>,
        /// The addresses found, in any order.
        addresses: Option<Vec<Address>>,
    },
}

/// An address in an expectation: itself, or whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// This one.
    Ip(IpAddr),
    /// That of a pod or a node at that time.
    Of(Place),
    /// The client's own.
    Client,
}

/// An observation as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ObservationFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<[Duration; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    throughout: Option<[Duration; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Duration>,
    from: Place,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proto: Option<Transport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    served_by: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolve: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<Address>>,
}

impl TryFrom<ObservationFields> for Observation {
    type Error = String;

    fn try_from(fields: ObservationFields) -> Result<Self, String> {
        let ObservationFields { after, at, within, throughout, every, from, .. } = fields.clone();
        let when = WhenFields { after, at, within, throughout }.when()?;
        match when.window {
            Window::Ever => {
                return Err(
                    "an observation needs its time: one of `at`, `within` and `throughout`".to_owned()
                );
            }
            Window::At(_) if every.is_some() => {
                return Err("`every` goes with `within` and `throughout` only".to_owned());
            }
            _ if every.is_some_and(|every| every.span() == hopwise_engine::Span::ZERO) => {
                return Err("`every` is zero; expected the time from one look to the next".to_owned());
            }
            _ => {}
        }
        Ok(Observation { when, every: every.unwrap_or(EVERY), from, look: look_of(fields)? })
    }
}

fn look_of(fields: ObservationFields) -> Result<Look, String> {
    let ObservationFields { connect, proto, outcome, served_by, source, resolve, rcode, addresses, .. } =
        fields;
    let seen_by_connecting = proto.is_some() || outcome.is_some() || served_by.is_some() || source.is_some();
    let seen_by_resolving = rcode.is_some() || addresses.is_some();
    match (connect, resolve) {
        (Some(to), None) if seen_by_resolving => {
            Err(format!("`rcode` and `addresses` go with `resolve`, and this observation connects to {to}"))
        }
        (Some(_), None) if outcome.is_none() && served_by.is_none() && source.is_none() => {
            Err("expected what has to come of the connection: `outcome`, `servedBy` or `source`".to_owned())
        }
        (Some(to), None) => {
            let to = to.parse().map_err(|error: hopwise_client::AddressError| error.to_string())?;
            Ok(Look::Connect { to, transport: proto.unwrap_or_default(), outcome, served_by, source })
        }
        (None, Some(name)) if seen_by_connecting => Err(format!(
            "`proto`, `outcome`, `servedBy` and `source` go with `connect`, and this observation resolves {name}"
        )),
        (None, Some(_)) if !seen_by_resolving => {
            Err("expected what has to come of the look-up: `rcode` or `addresses`".to_owned())
        }
        (None, Some(name)) => Ok(Look::Resolve { name, rcode, addresses }),
        _ => Err("expected exactly one of `connect` and `resolve`".to_owned()),
    }
}

impl From<Observation> for ObservationFields {
    fn from(observation: Observation) -> Self {
        let WhenFields { after, at, within, throughout } = WhenFields::of(&observation.when);
        let every = at.is_none().then_some(observation.every);
        let mut fields = ObservationFields {
            after,
            at,
            within,
            throughout,
            every,
            from: observation.from,
            connect: None,
            proto: None,
            outcome: None,
            served_by: None,
            source: None,
            resolve: None,
            rcode: None,
            addresses: None,
        };
        match observation.look {
            Look::Connect { to, transport, outcome, served_by, source } => {
                fields.connect = Some(to.to_string());
                fields.proto = Some(transport);
                (fields.outcome, fields.served_by, fields.source) = (outcome, served_by, source);
            }
            Look::Resolve { name, rcode, addresses } => {
                (fields.resolve, fields.rcode, fields.addresses) = (Some(name), rcode, addresses);
            }
        }
        fields
    }
}

impl Observation {
    /// What is expected, in words.
    pub fn title(&self) -> String {
        let list = |words: &[String]| words.join(" or ");
        let mut wanted = Vec::new();
        let what = match &self.look {
            Look::Connect { to, outcome, served_by, source, .. } => {
                wanted.extend(outcome.map(|outcome| outcome.as_str().to_owned()));
                wanted.extend(served_by.as_ref().map(|pods| format!("served by {}", list(pods))));
                wanted.extend(source.as_ref().map(|source| format!("seen as {source}")));
                format!("connecting to {to}")
            }
            Look::Resolve { name, rcode, addresses } => {
                wanted.extend(rcode.clone());
                wanted.extend(addresses.as_ref().map(|addresses| {
                    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                    format!("[{}]", addresses.join(", "))
                }));
                format!("resolving {name}")
            }
        };
        format!("{what} from {} gives {} {}", self.from, wanted.join(", "), self.when)
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "client" {
            return Ok(Address::Client);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Address::Ip(ip));
        }
        match text.parse() {
            Ok(place @ (Place::Pod { .. } | Place::Node(_))) => Ok(Address::Of(place)),
            _ => Err(format!(
                "`{text}` is no address; expected an IP address, `pod/NAMESPACE/NAME`, `node/NAME` or `client`"
            )),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{ip}"),
            Address::Of(place) => write!(f, "{place}"),
            Address::Client => f.write_str("client"),
        }
    }
}
