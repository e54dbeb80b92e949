//! The IP addresses of one host as a client remembers and tries them: what an answer of the resolver is good for, and
//! which addresses the next attempt to connect takes.

use std::net::IpAddr;

use rand::Rng;
use rand::seq::SliceRandom;
use tokio::time::Instant;

use crate::behaviour::{AddressOrder, AddressesTried, Behaviour, Families, Resolve};

/// What is known of one host.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// The last answer as the client sorts it, and when it came; nothing once it has to be asked for again.
    answer: Option<(Instant, Vec<IpAddr>)>,
    /// The place of the address that the next attempt takes, where it takes one.
    next: usize,
}

impl Addresses {
    /// Whether the next attempt to connect needs no look-up.
    pub fn is_known(&self, now: Instant, resolve: Resolve) -> bool {
        let Some((answered, _)) = &self.answer else { return false };
        match resolve {
            Resolve::EveryConnection => false,
            Resolve::After(age) => now.duration_since(*answered) < age,
            Resolve::AfterLoss | Resolve::Once => true,
        }
    }

    /// Takes an answer of the resolver.
    pub fn take(
        &mut self,
        now: Instant,
        mut answer: Vec<IpAddr>,
        behaviour: &Behaviour,
        random: &mut impl Rng,
    ) {
        let first_is_v4 = answer.first().is_some_and(IpAddr::is_ipv4);
        match behaviour.families {
            Families::OfFirst => answer.retain(|ip| ip.is_ipv4() == first_is_v4),
            Families::All => {}
        }
        match behaviour.address_order {
            AddressOrder::Answered => {}
            AddressOrder::Shuffled => answer.shuffle(random),
        }
        (self.answer, self.next) = (Some((now, answer)), 0);
    }

    /// The addresses that this attempt tries.
    pub fn attempt(&mut self, behaviour: &Behaviour) -> Vec<IpAddr> {
        let Some((_, answer)) = &self.answer else { return Vec::new() };
        match behaviour.addresses_tried {
            AddressesTried::First => answer.iter().take(1).copied().collect(),
            AddressesTried::EachInTurn | AddressesTried::Racing => answer.clone(),
            AddressesTried::Next => {
                let taken = answer.iter().skip(self.next).take(1).copied().collect();
                self.next += 1;
                if self.next >= answer.len() {
                    self.next = 0;
                    self.lost(behaviour.resolve);
                }
                taken
            }
        }
    }

    /// Notes that an open connection was lost.
    pub fn lost(&mut self, resolve: Resolve) {
        if resolve == Resolve::AfterLoss {
            self.answer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::Profile;

    fn answer() -> Vec<IpAddr> {
        ["10.0.0.1", "2001:db8::1", "10.0.0.2"].map(|ip| ip.parse().expect("valid")).to_vec()
    }

    /// What the attempts of a profile try, until they need another answer or there were four.
    fn attempts(profile: Profile) -> Vec<Vec<IpAddr>> {
        let (behaviour, now) = (profile.behaviour(), Instant::now());
        let mut addresses = Addresses::default();
        addresses.take(now, answer(), &behaviour, &mut ChaCha8Rng::seed_from_u64(3));
        let mut seen = vec![addresses.attempt(&behaviour)];
        while addresses.is_known(now, behaviour.resolve) && seen.len() < 4 {
            seen.push(addresses.attempt(&behaviour));
        }
        seen
    }

    #[tokio::test]
    async fn java_takes_each_address_of_one_family_and_then_asks_again() {
        let [first, _, second] = answer().try_into().expect("three");
        assert_eq!(attempts(Profile::Java), [vec![first], vec![second]]);
    }

    #[tokio::test]
    async fn librdkafka_goes_round_both_families_in_an_order_of_its_own() {
        let tried: Vec<IpAddr> = attempts(Profile::Librdkafka).into_iter().flatten().collect();
        assert_eq!(tried[3], tried[0], "round and round while the answer is fresh");
        let mut round = tried[..3].to_vec();
        round.sort();
        let mut all = answer();
        all.sort();
        assert_eq!(round, all);
    }

    #[tokio::test]
    async fn a_naive_client_keeps_to_the_first_address_and_the_others_try_all_at_once() {
        assert_eq!(attempts(Profile::Naive), vec![vec![answer()[0]]; 4]);
        assert_eq!(attempts(Profile::FranzGo), [answer()]);
    }

    #[tokio::test]
    async fn an_answer_lasts_as_long_as_the_profile_says() {
        let start = Instant::now();
        let known = |profile: Profile, after: Duration, lost: bool| {
            let behaviour = profile.behaviour();
            let mut addresses = Addresses::default();
            addresses.take(start, answer(), &behaviour, &mut ChaCha8Rng::seed_from_u64(3));
            if lost {
                addresses.lost(behaviour.resolve);
            }
            addresses.is_known(start + after, behaviour.resolve)
        };
        let (soon, later) = (Duration::from_millis(999), Duration::from_secs(1));
        assert!(known(Profile::Librdkafka, soon, true) && !known(Profile::Librdkafka, later, false));
        assert!(known(Profile::Java, later, false) && !known(Profile::Java, soon, true));
        assert!(known(Profile::Naive, later, true) && !known(Profile::FranzGo, soon, false));
    }
}
