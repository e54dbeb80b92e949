//! What was seen against what the kernel did.
//!
//! A node draws endpoints at random, and so does a load balancer its targets, so a case with several of them lists what
//! the kernel happened to draw. The comparison is as strict as that allows:
//!
//! * With one endpoint and one way in, everything is equal after the case's own number of tries.
//! * Otherwise everything that the kernel showed has to be seen, after more tries if need be.
//! * What is seen and the kernel did not show has to be another draw of the same kind: another pod, or another way in; not
//!   another source or hop count for the same ones. And the kernel must have been able to miss it: the probability
//!   that all its tries fell among what it shows is not negligible.
//! * With session affinity the kernel drew once. Some network, made anew, has to show exactly the same; and no network
//!   more pods than there are ways in.

use std::collections::BTreeSet;

use super::dial::Observation;
use super::file::{Access, Case, File, IpMode, Outcome, Path};
use crate::case::Difference;

/// How often a network is made anew at most.
const NETWORKS_MAX: u64 = 256;
/// Tries in each of them after the first, where nothing is remembered between tries.
const TRIES_MORE: usize = 60;
/// So many tries tell how likely something is.
const TRIES_ENOUGH: usize = 240;
/// Less likely than this is impossible. With a thousand cases in which the kernel may have missed one of three pods in
/// 18 tries (0.07 % each), one in a hundred runs has a case of the order of 1e-5.
const NEGLIGIBLE: f64 = 1e-6;

/// The distinct things seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    outcomes: BTreeSet<Outcome>,
    paths: BTreeSet<Path>,
    answered_by: BTreeSet<String>,
}

impl Seen {
    fn of(observations: &[Observation]) -> Seen {
        Seen {
            outcomes: observations.iter().map(|one| one.outcome).collect(),
            paths: observations.iter().filter_map(|one| one.path.clone()).collect(),
            answered_by: observations.iter().filter_map(|one| one.answered_by.clone()).collect(),
        }
    }

    fn expected(case: &Case) -> Seen {
        Seen {
            outcomes: case.expect.outcomes.iter().copied().collect(),
            paths: case.expect.connected_paths.iter().cloned().collect(),
            answered_by: case.expect.answered_by.iter().cloned().collect(),
        }
    }

    fn covers(&self, other: &Seen) -> bool {
        self.outcomes.is_superset(&other.outcomes)
            && self.paths.is_superset(&other.paths)
            && self.answered_by.is_superset(&other.answered_by)
    }

    /// Whether the kernel showed `one`. A try that nobody answered shows nothing beside its outcome.
    fn shows(&self, one: &Observation) -> bool {
        self.outcomes.contains(&one.outcome)
            && one.path.as_ref().is_none_or(|path| self.paths.contains(path))
            && one.answered_by.as_ref().is_none_or(|answer| self.answered_by.contains(answer))
    }
}

/// What is drawn at random in a case.
struct Draws {
    endpoints: usize,
    /// Nodes or pods that the load balancer may send a connection to; 1 without a load balancer on the way.
    ways_in: usize,
    affinity: bool,
}

impl Draws {
    fn of(file: &File, case: &Case) -> Draws {
        let service = &file.services[&case.service];
        let external =
            !file.topology.nodes.contains_key(&case.source) && !file.topology.pods.contains_key(&case.source);
        // kube-proxy takes the address itself inside of the cluster, unless it has no rule for it. A node's own
        // connections pass the rule of a Service without endpoints (linux.md 3, K13).
        let unruled = service.endpoints.is_empty() && file.topology.nodes.contains_key(&case.source);
        let balanced = case.access == Access::Vip
            && (external || unruled || case.ip_mode == Some(IpMode::Proxy))
            && service.lb_kind.is_some();
        let targets = service.lb_targets.as_ref().map_or(1, Vec::len);
        Draws {
            endpoints: if case.access == Access::PodIp { 1 } else { service.endpoints.len() },
            ways_in: if balanced { targets.max(1) } else { 1 },
            affinity: service.affinity_seconds.is_some(),
        }
    }

    fn is_exact(&self) -> bool {
        self.endpoints <= 1 && self.ways_in == 1
    }
}

/// Whether what `observe` (seed, tries) sees is what the kernel did.
///
/// # Errors
/// What differs.
pub fn judge(
    file: &File,
    case: &Case,
    mut observe: impl FnMut(u64, usize) -> Vec<Observation>,
) -> Result<(), Difference> {
    let (expected, draws) = (Seen::expected(case), Draws::of(file, case));
    if draws.is_exact() {
        return equal(&expected, &Seen::of(&observe(1, case.tries)));
    }
    if draws.affinity {
        return judge_affinity(case, &expected, &draws, observe);
    }
    let mut all = observe(1, case.tries);
    for seed in 2..NETWORKS_MAX {
        let seen = Seen::of(&all);
        if seen == expected || (seen.covers(&expected) && all.len() >= TRIES_ENOUGH) {
            break;
        }
        all.extend(observe(seed, TRIES_MORE));
    }
    let seen = Seen::of(&all);
    if !seen.covers(&expected) {
        return Err(difference(&expected, &seen, "was not seen in many tries"));
    }
    check_extras(&expected, &seen, &draws)?;
    let share = all.iter().filter(|one| expected.shows(one)).count() as f64 / all.len() as f64;
    let probability = share.powi(i32::try_from(case.tries).unwrap_or(i32::MAX));
    if probability < NEGLIGIBLE {
        let why = format!("shows {:.0} % of the tries: that is no chance", share * 100.0);
        return Err(difference(&expected, &seen, &why));
    }
    Ok(())
}

fn judge_affinity(
    case: &Case,
    expected: &Seen,
    draws: &Draws,
    mut observe: impl FnMut(u64, usize) -> Vec<Observation>,
) -> Result<(), Difference> {
    let mut union = Seen::default();
    for seed in 1..NETWORKS_MAX {
        let seen = Seen::of(&observe(seed, case.tries));
        let pods: BTreeSet<&String> = seen.paths.iter().map(|path| &path.pod).collect();
        // linux.md 3, K11.
        if pods.len() > draws.ways_in {
            return Err(difference(expected, &seen, "is one pod for each way in"));
        }
        check_extras(expected, &seen, draws)?;
        if seen == *expected {
            return Ok(());
        }
        union.outcomes.extend(seen.outcomes);
        union.paths.extend(seen.paths);
        union.answered_by.extend(seen.answered_by);
    }
    Err(difference(expected, &union, "was not seen in any network"))
}

/// Whether what the kernel did not show may be another draw.
fn check_extras(expected: &Seen, seen: &Seen, draws: &Draws) -> Result<(), Difference> {
    let kind = |path: &Path| path.source_seen.split(':').next().map(str::to_owned);
    let hops = |path: &Path| (path.forward_hops, path.reply_hops);
    for extra in seen.paths.difference(&expected.paths) {
        let same_pod = expected.paths.iter().filter(|path| path.pod == extra.pod);
        if same_pod.clone().any(|path| path.source_seen == extra.source_seen || draws.ways_in == 1) {
            return Err(difference(expected, seen, "reaches the pod in another way"));
        }
        if draws.ways_in == 1 {
            continue;
        }
        let mut alike = expected.paths.iter().filter(|path| kind(path) == kind(extra)).peekable();
        if alike.peek().is_some() && alike.all(|path| hops(path) != hops(extra)) {
            return Err(difference(expected, seen, "takes other numbers of hops"));
        }
    }
    let what = |answer: &String| answer.split(' ').next().map(str::to_owned);
    for extra in seen.answered_by.difference(&expected.answered_by) {
        let mut known = expected.answered_by.iter().peekable();
        if known.peek().is_some() && known.all(|answer| what(answer) != what(extra)) {
            return Err(difference(expected, seen, "is answered otherwise"));
        }
    }
    Ok(())
}

fn equal(expected: &Seen, seen: &Seen) -> Result<(), Difference> {
    if expected == seen { Ok(()) } else { Err(difference(expected, seen, "is exact")) }
}

fn difference(expected: &Seen, seen: &Seen, why: &str) -> Difference {
    Difference::new(format!("{expected:?} ({why})"), format!("{seen:?}"))
}
