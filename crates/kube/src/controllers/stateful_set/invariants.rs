//! What holds after every step of any sequence of events (kubernetes.md 10).

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError};

use super::tests::World;
use super::*;
use crate::store::pod_state::{self, claim_names};

/// Something that happens to a set. Ordinals are taken modulo the pods that are there.
#[derive(Clone, Copy, Debug)]
enum Event {
    Ready(u64),
    Unready(u64),
    Ends(u64),
    DeletedByHand(u64),
    /// The kubelets confirm every deletion.
    Stopped,
    Scaled(i32),
    Template(u8),
    Partition(i32),
}

fn scaling() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0u64..8).prop_map(Event::Ready),
        1 => (0u64..8).prop_map(Event::Unready),
        3 => Just(Event::Stopped),
        1 => (0i32..6).prop_map(Event::Scaled),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => scaling(),
        1 => (0u64..8).prop_map(Event::Ends),
        1 => (0u64..8).prop_map(Event::DeletedByHand),
        1 => (0u8..3).prop_map(Event::Template),
        1 => (0i32..6).prop_map(Event::Partition),
    ]
}

fn happen(world: &mut World, event: Event) {
    let names: Vec<String> = world.pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
    let named = |number: u64| names.get(usize::try_from(number).unwrap_or(0) % names.len().max(1));
    match event {
        Event::Ready(pod) => named(pod).into_iter().for_each(|name| world.set_ready(name)),
        Event::Unready(pod) => named(pod).into_iter().for_each(|name| world.pod(name).status = None),
        Event::Ends(pod) => named(pod).into_iter().for_each(|name| {
            world.pod(name).status.get_or_insert_default().phase = Some("Failed".into());
        }),
        Event::DeletedByHand(pod) => named(pod).into_iter().for_each(|name| world.mark(name)),
        Event::Stopped => world.pods.retain(|pod| !pod_state::is_terminating(pod)),
        Event::Scaled(replicas) => world.set.spec.get_or_insert_default().replicas = Some(replicas),
        Event::Template(image) => world.set_image(&image.to_string()),
        Event::Partition(partition) => {
            let strategy = world.set.spec.get_or_insert_default().update_strategy.get_or_insert_default();
            strategy.rolling_update.get_or_insert_default().partition = Some(partition);
        }
    }
}

/// The ordinals of the pods for which `holds`.
fn ordinals(pods: &[Arc<Pod>], holds: impl Fn(&Pod) -> bool) -> BTreeSet<u64> {
    let named = pods.iter().filter(|pod| holds(pod)).filter_map(|pod| pod.metadata.name.as_deref());
    named.filter_map(|name| ordinal_of("db", name)).collect()
}

/// One pass, and what has to hold of its requests and of the state that it leaves.
fn pass(world: &mut World) -> Result<(), TestCaseError> {
    let (set, before) = (world.set.clone(), world.pods.clone());
    let in_range = 0..replicas_wanted(&set) as u64;
    let words = world.pass();
    let deleted: Vec<u64> =
        words.iter().filter_map(|word| ordinal_of("db", word.strip_prefix("delete ")?)).collect();
    let ready = ordinals(&before, pod_state::is_healthy);
    let ended = ordinals(&before, pod_state::is_finished);
    if is_ordered(&set) {
        prop_assert!(deleted.len() <= 1, "{words:?}");
        for ordinal in deleted.iter().filter(|ordinal| !in_range.contains(ordinal)) {
            let lower = in_range.clone().filter(|lower| lower < ordinal);
            let waiting: Vec<u64> = lower.filter(|lower| !ready.contains(lower)).collect();
            prop_assert!(waiting.is_empty(), "{ordinal} goes although {waiting:?} are not ready");
        }
    }
    let updated: Vec<&u64> =
        deleted.iter().filter(|ordinal| in_range.contains(ordinal) && !ended.contains(ordinal)).collect();
    prop_assert!(updated.len() <= 1, "{updated:?} go at once for an update");

    let names: BTreeSet<_> = world.pods.iter().map(|pod| pod.metadata.name.clone()).collect();
    prop_assert_eq!(names.len(), world.pods.len(), "two objects of one ordinal");
    for pod in &world.pods {
        let ordinal = ordinal_of("db", pod.metadata.name.as_deref().unwrap_or("")).expect("a pod of the set");
        prop_assert_eq!(claim_names(pod), [claim_name("data", "db", ordinal)]);
    }
    let claims: BTreeSet<_> = world.claims.iter().map(|claim| claim.metadata.name.clone()).collect();
    prop_assert_eq!(claims.len(), world.claims.len(), "two claims of one name");
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn passes_keep_the_invariants(
        parallel in any::<bool>(),
        events in prop::collection::vec(any_event(), 1..60),
    ) {
        let mut world = World::new(3, if parallel { "Parallel" } else { "OrderedReady" });
        for event in events {
            happen(&mut world, event);
            pass(&mut world)?;
        }
    }

    #[test]
    fn ordered_pods_form_a_prefix_while_nobody_interferes(
        events in prop::collection::vec(scaling(), 1..60),
    ) {
        let mut world = World::new(3, "OrderedReady");
        for event in events {
            happen(&mut world, event);
            pass(&mut world)?;
            let there = ordinals(&world.pods, |_| true);
            prop_assert_eq!(there.len() as u64, there.last().map_or(0, |last| last + 1), "{:?}", there);
        }
    }

    #[test]
    fn a_set_settles_once_nothing_is_in_its_way(
        parallel in any::<bool>(),
        replicas in 0i32..6,
        events in prop::collection::vec(any_event(), 0..40),
    ) {
        let mut world = World::new(3, if parallel { "Parallel" } else { "OrderedReady" });
        for event in events {
            happen(&mut world, event);
            pass(&mut world)?;
        }
        happen(&mut world, Event::Partition(0));
        happen(&mut world, Event::Scaled(replicas));
        for _ in 0..60 {
            happen(&mut world, Event::Stopped);
            let waiting: Vec<String> = world.pods.iter()
                .filter(|pod| !pod_state::is_healthy(pod) && !pod_state::is_finished(pod))
                .filter_map(|pod| pod.metadata.name.clone()).collect();
            waiting.iter().for_each(|name| world.set_ready(name));
            pass(&mut world)?;
        }
        prop_assert_eq!(ordinals(&world.pods, pod_state::is_healthy).len(), replicas_wanted(&world.set));
        let status = world.set.status.clone().unwrap_or_default();
        prop_assert_eq!(status.current_revision, status.update_revision);
    }
}
