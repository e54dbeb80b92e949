//! Idle time-outs: rows 14 and 15 of redpanda.md section 5.

use super::super::facts::{Cluster, ServiceKind};
use super::super::{Code, Finding};

/// `connections.max.idle.ms` of Kafka clients, in seconds (redpanda.md 6.3).
const CLIENT_IDLE_S: u32 = 540;

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    idle(cluster).into_iter().collect()
}

/// Rows 14 and 15.
fn idle(cluster: &Cluster) -> Option<Finding> {
    let (idle_s, resets) = cluster.idle_timeout?;
    let service = cluster.services.iter().find(|service| {
        service.kind == ServiceKind::LoadBalancer
            && cluster.brokers.iter().any(|broker| service.selected.contains(&broker.pod_key()))
    })?;
    if idle_s >= CLIENT_IDLE_S {
        return None;
    }
    let then = if resets {
        "the next request of the client is answered with a reset"
    } else {
        "the next request of the client waits until it times out"
    };
    let explanation = format!(
        "Load balancers of the profile {} forget a connection after {idle_s} s of silence; Kafka clients keep one for \
         {CLIENT_IDLE_S} s. In between {then}.",
        cluster.profile,
    );
    let fix = format!(
        "Set connections.max.idle.ms of the clients below {}, or a TCP keep-alive below it.",
        idle_s * 1000
    );
    let finding = Finding::new(Code::IdleFlowsForgotten, service.object(), explanation).fix(fix);
    Some(finding.at(service.position.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::super::super::lint::lint;
    use super::super::fixture::{codes, only, sound};
    use super::*;

    #[test]
    fn short_idle_timeouts_are_noted_for_load_balancers() {
        let mut cluster = sound();
        cluster.idle_timeout = Some((240, false));
        assert_eq!(codes(&cluster), []);
        cluster.managed_load_balancers = true;
        cluster.services[1].kind = ServiceKind::LoadBalancer;
        let finding = only(&cluster, Code::IdleFlowsForgotten);
        assert!(finding.explanation.contains("after 240 s"), "{}", finding.explanation);
        cluster.idle_timeout = Some((540, false));
        assert_eq!(lint(&cluster), []);
    }
}
