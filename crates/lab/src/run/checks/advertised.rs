//! Behind the address that a broker advertises is that broker.
//!
//! A client that asks broker 1 at broker 1's address and is answered by broker 2 gets no error that says so: it gets
//! NOT_LEADER_OR_FOLLOWER again and again, or another broker's answer. The simulation knows who was reached.

use hopwise_client::{Outcome, RequestRecord};

use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "advertised",
    promise: "the broker that answers is the one that advertises the address",
    follows: "redpanda.md 1.7 (each broker's address has to lead to that broker alone)",
    advice: "Compare advertised_kafka_api with the Services, DNS names and load balancers that the address leads through; \
             `hopwise check` shows each address's way.",
};

/// Takes one attempt after the other.
#[derive(Debug, Default)]
pub(in super::super) struct Advertised(Seen);

impl Advertised {
    /// An attempt of `client` has ended.
    pub fn attempt(&mut self, client: &str, record: &RequestRecord) {
        let (Some(asked), Some(reached)) = (record.broker, record.reached) else { return };
        let answered = record.error_code.is_some() || record.outcome == Outcome::Ok;
        if !answered {
            return;
        }
        self.0.unless(asked == reached, || {
            let ip = record.ip.map(|ip| format!(" ({ip})")).unwrap_or_default();
            format!(
                "{client} asked broker {asked} at {}{ip} at {}, and broker {reached} answered",
                record.address, record.started_at
            )
        });
    }

    pub fn end(self) -> Seen {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn an_answer_of_another_broker_is_told_and_silence_is_not() {
        let mut check = Advertised::default();
        let mut attempt = sample::attempt(10, 11, 1);
        attempt.reached = Some(1);
        check.attempt("a", &attempt);
        attempt.broker = None;
        check.attempt("a", &attempt);
        assert_eq!(check.0, Seen { examined: 1, ..Seen::default() });
        attempt.broker = Some(2);
        (attempt.outcome, attempt.error_code) = (Outcome::Timeout, None);
        check.attempt("a", &attempt);
        assert_eq!(check.0.violations, 0, "nobody answered");
        (attempt.outcome, attempt.error_code) = (Outcome::WrongBroker, Some(6));
        check.attempt("a", &attempt);
        let seen = check.end();
        assert_eq!((seen.examined, seen.violations), (2, 1));
        let first = seen.first.expect("one is told");
        assert!(first.contains("a asked broker 2 at redpanda-0:9093 at 10"), "{first}");
        assert!(first.ends_with("and broker 1 answered"), "{first}");
    }
}
