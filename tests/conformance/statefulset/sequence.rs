//! Cases that are a sequence of events and reconciles.

use std::collections::BTreeSet;

use hopwise_kube::controllers::stateful_set::{Gates, POD_INDEX_LABEL, POD_NAME_LABEL, claim_name, pod_name};
use hopwise_kube::store::pod_state::claim_names;

use super::format::{Case, Event, Expect, InitialPod, PodState, Set, SpecChange, Stage, Status, Step};
use super::not_understood;
use super::world::{FIRST_TEMPLATE, SET, World, image, set_image};
use crate::case::{Difference, equal};

/// The claim template of a case whose steps name no claim.
const CLAIM_TEMPLATE: &str = "datadir";

/// A case under way.
struct Run<'a> {
    case: &'a Case,
    world: World,
    claim: String,
    /// The ordinals that the controller has asked to go.
    deleted: BTreeSet<u64>,
    /// The status after the last reconcile that failed.
    after_failure: Option<Status>,
}

/// Runs the steps, and compares what holds at the end.
pub fn run(case: &Case) -> Result<(), Difference> {
    let set = case.set.clone().unwrap_or_default();
    let claim = claim_template(case);
    let gates = Gates { max_unavailable: case.gates.max_unavailable };
    let world = World::new(&set, gates, &claim);
    let mut run = Run { case, world, claim, deleted: BTreeSet::new(), after_failure: None };
    run.build_up(&set)?;
    for step in &case.steps {
        run.step(step)?;
    }
    if !case.steps.iter().any(|step| step.sync.is_some()) {
        run.reconcile_to_end()?;
    }
    run.check_status(&case.expect)?;
    run.check_pods(&case.expect)?;
    run.check_words(&case.expect)
}

/// The claim template's name: that of the claims that the steps name.
fn claim_template(case: &Case) -> String {
    let words = case.steps.iter().flat_map(|step| step.sync.iter().flatten());
    let mut claims = words.filter_map(|word| word.strip_prefix("create_pvc "));
    let template = claims.find_map(|claim| claim.rsplit_once(&format!("-{SET}-")));
    template.map_or(CLAIM_TEMPLATE, |(template, _)| template).to_owned()
}

impl Run<'_> {
    /// Brings the initial pods about by the controller itself, then gives them the state of the case.
    fn build_up(&mut self, set: &Set) -> Result<(), Difference> {
        let healthy = healthy_pod(0).state();
        // A case of growing batches starts with all of its replicas.
        let start = u64::try_from(set.ordinals_start).unwrap_or(0);
        let all = || (0..u64::try_from(set.replicas).unwrap_or(0)).map(|index| start + index);
        let given = self.case.initial.as_ref().map(|initial| initial.pods.clone());
        let settled = self.case.expect.max_reconciles.is_some();
        let pods: Vec<InitialPod> = given.unwrap_or_else(|| match settled {
            true => all().map(healthy_pod).collect(),
            false => Vec::new(),
        });
        if pods.is_empty() {
            return Ok(());
        }
        let revisions: BTreeSet<String> =
            pods.iter().map(|pod| pod.revision.clone().unwrap_or_else(|| FIRST_TEMPLATE.into())).collect();
        set_image(&mut self.world.set, revisions.first().map_or(FIRST_TEMPLATE, String::as_str));
        for _ in 0..=2 * pods.len() {
            let words = self.must_reconcile()?;
            let ordinals: Vec<u64> = self.world.objects.pods.keys().copied().collect();
            for ordinal in ordinals {
                self.world.set_pod(ordinal, &healthy).map_err(no_pod)?;
            }
            if words.is_empty() {
                break;
            }
        }
        let found: Vec<u64> = self.world.objects.pods.keys().copied().collect();
        equal(&pods.iter().map(|pod| pod.ordinal).collect::<Vec<_>>(), &found)?;
        for revision in revisions.iter().skip(1) {
            self.move_pods_to(revision, &pods)?;
        }
        for pod in &pods {
            self.world.set_pod(pod.ordinal, &pod.state()).map_err(no_pod)?;
        }
        self.world.objects.calls.clear();
        Ok(())
    }

    /// Makes `revision` the template, and puts the pods that are to be at it there.
    fn move_pods_to(&mut self, revision: &str, pods: &[InitialPod]) -> Result<(), Difference> {
        set_image(&mut self.world.set, revision);
        let strategy = self.world.set.spec.get_or_insert_default().update_strategy.clone();
        let hold = SpecChange {
            replicas: None,
            template: None,
            partition: None,
            update_strategy: Some("OnDelete".into()),
            ordinals_start: None,
            min_ready_seconds: None,
            max_unavailable: None,
        };
        self.world.change_spec(&hold);
        self.must_reconcile()?;
        for pod in pods.iter().filter(|pod| pod.revision.as_deref() == Some(revision)) {
            self.world.objects.pods.remove(&pod.ordinal);
            self.must_reconcile()?;
            let ready = PodState { phase: Some("Running".into()), ready: Some(true), ..PodState::default() };
            self.world.set_pod(pod.ordinal, &ready).map_err(no_pod)?;
        }
        self.world.set.spec.get_or_insert_default().update_strategy = strategy;
        Ok(())
    }

    fn must_reconcile(&mut self) -> Result<Vec<String>, Difference> {
        let (words, done) = self.world.reconcile();
        done.map_err(|error| Difference::new("requests that succeed", error.to_string()))?;
        Ok(words)
    }

    fn step(&mut self, step: &Step) -> Result<(), Difference> {
        match (&step.event, &step.sync) {
            (Some(event), None) => self.event(event),
            (None, Some(expected)) => self.sync(step, expected),
            _ => Err(not_understood("a step", "an event or a sync, one of them")),
        }
    }

    fn event(&mut self, event: &Event) -> Result<(), Difference> {
        let about_pods = event.pod.is_some();
        let adoption = event.owner_removed || event.labels_removed || event.labels_restored;
        let kinds = [
            about_pods,
            event.spec.is_some(),
            event.api_error.is_some(),
            event.api_ok.is_some(),
            event.create_fails.is_some() || event.status_write_fails.is_some(),
        ];
        if kinds.into_iter().filter(|kind| *kind).count() != 1 || adoption {
            return Err(not_understood("an event", "not one of pod, spec, api_error, api_ok, create_fails"));
        }
        if let Some(ordinal) = event.pod {
            return self.pod_event(ordinal, event).map_err(no_pod);
        }
        if let Some(change) = &event.spec {
            self.world.change_spec(change);
        }
        let failing = &mut self.world.objects.failing;
        if let Some(request) = &event.api_error {
            failing.insert(request.clone(), event.after_calls.unwrap_or(0));
        }
        if let Some(request) = &event.api_ok {
            failing.remove(request);
        }
        for (fails, request) in [(event.create_fails, "create"), (event.status_write_fails, "status")] {
            if fails == Some(true) {
                failing.insert(request.into(), 0);
            }
        }
        Ok(())
    }

    fn pod_event(&mut self, ordinal: u64, event: &Event) -> Result<(), String> {
        if event.removed {
            self.deleted.remove(&ordinal);
            self.world.pod(ordinal)?;
            self.world.objects.pods.remove(&ordinal);
        } else if event.terminating {
            self.world.mark(ordinal)?;
        } else {
            let state = PodState {
                phase: event.phase.clone(),
                ready: event.ready,
                available: event.available,
                ready_for_s: event.ready_for_s,
            };
            self.world.set_pod(ordinal, &state)?;
        }
        Ok(())
    }

    fn sync(&mut self, step: &Step, expected: &[String]) -> Result<(), Difference> {
        let (words, done) = match self.case.stage {
            Some(Stage::UpdateOnly) => self.world.update(),
            None => self.world.reconcile(),
        };
        let deletes = words.iter().filter_map(|word| word.strip_prefix("delete "));
        self.deleted.extend(deletes.filter_map(|ordinal| ordinal.parse::<u64>().ok()));
        let mut found = self.fold_claims(words, expected);
        let mut expected = expected.to_vec();
        // Under Parallel the order inside one pass is not significant.
        if self.case.set.as_ref().and_then(|set| set.pod_management_policy.as_deref()) == Some("Parallel") {
            found.sort_unstable();
            expected.sort_unstable();
        }
        equal(&expected, &found)?;
        if let Some(status) = &step.status {
            equal(status, &self.world.status_as_asked(status))?;
        }
        let failed = done.err().map(|error| error.0);
        equal(&step.error, &failed)?;
        if failed.is_some() {
            let asked = Status {
                current: Some(0),
                current_revision: Some(String::new()),
                update_revision: Some(String::new()),
                ..Status::default()
            };
            self.after_failure = Some(self.world.status_as_asked(&asked));
        }
        Ok(())
    }

    /// `create N@REV` includes the pod's claims, also when the pod's own creation fails, unless the step names them.
    fn fold_claims(&self, words: Vec<String>, expected: &[String]) -> Vec<String> {
        let attempted = self.world.objects.attempted.iter();
        let claims: BTreeSet<String> = attempted
            .map(|ordinal| format!("create_pvc {}", claim_name(&self.claim, SET, *ordinal)))
            .collect();
        words.into_iter().filter(|word| expected.contains(word) || !claims.contains(word)).collect()
    }

    /// Cases that have only a beginning and an end: everything settles in the given number of reconciles.
    fn reconcile_to_end(&mut self) -> Result<(), Difference> {
        let expect = &self.case.expect;
        let mut batches = Vec::new();
        for _ in 0..expect.max_reconciles.unwrap_or(1) {
            let (_, done) = self.world.reconcile();
            equal(&expect.error.is_some(), &done.is_err())?;
            batches.push(std::mem::take(&mut self.world.objects.batches));
            let gone = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.deletion_timestamp.is_some();
            self.world.objects.pods.retain(|_, pod| !gone(pod));
        }
        match expect.error.as_deref() {
            None | Some("sync error" | "status error") => {}
            Some(other) => return Err(not_understood("an error", other)),
        }
        if let Some(writes) = expect.status_writes {
            let found = self.world.objects.calls.get("status").copied().unwrap_or(0);
            equal(&(writes as u64), &found)?;
        }
        if let Some(least) = expect.min_concurrent_calls {
            let most = batches.iter().flatten().map(|(_, calls)| *calls).max().unwrap_or(0);
            if most < least {
                return Err(Difference::new(format!("{least} calls at once"), format!("{most}")));
            }
        }
        expect.rule.as_ref().map_or(Ok(()), |rule| check_batches(rule, &batches))
    }

    fn check_status(&self, expect: &Expect) -> Result<(), Difference> {
        if let Some(status) = &expect.status {
            equal(status, &self.world.status_as_asked(status))?;
        }
        if let Some(expected) = &expect.status_after_failed_delete {
            let found = self.after_failure.clone().unwrap_or_default();
            equal(&Some(expected.current), &found.current)?;
            equal(&expected.revisions_differ, &(found.current_revision != found.update_revision))?;
        }
        let status = self.world.set.status.clone().unwrap_or_default();
        for (which, expected) in expect.revisions.iter().flatten() {
            let name = match which.as_str() {
                "current" => status.current_revision.as_ref(),
                "update" => status.update_revision.as_ref(),
                other => return Err(not_understood("a revision", other)),
            };
            equal(expected, &self.world.revision(name))?;
        }
        for (request, expected) in expect.api_calls.iter().flatten() {
            equal(expected, &self.world.objects.calls.get(request).copied().unwrap_or(0))?;
        }
        Ok(())
    }

    fn check_pods(&self, expect: &Expect) -> Result<(), Difference> {
        let pods = &self.world.objects.pods;
        for (ordinal, expected) in expect.pods_at.iter().flatten() {
            let number = ordinal.parse::<u64>().map_err(|_| not_understood("an ordinal", ordinal))?;
            let pod = pods.get(&number).ok_or_else(|| no_pod(format!("there is no pod {ordinal}")))?;
            equal(&(expected.as_str(), expected.clone()), &(image(pod), self.world.revision_of(pod)))?;
        }
        if let Some(names) = &expect.pod_names {
            let found: Vec<String> = pods.values().filter_map(|pod| pod.metadata.name.clone()).collect();
            equal(names, &found)?;
        }
        if let Some(count) = expect.pods_removed {
            equal(&count, &self.deleted.len())?;
        }
        if let Some(ordinals) = &expect.remaining_ordinals {
            let left: Vec<u64> = pods.keys().copied().filter(|it| !self.deleted.contains(it)).collect();
            equal(ordinals, &left)?;
        }
        Ok(())
    }

    fn check_words(&self, expect: &Expect) -> Result<(), Difference> {
        for (label, meaning) in expect.labels.iter().flatten() {
            for (ordinal, pod) in &self.world.objects.pods {
                let expected = match (label.as_str(), meaning.as_str()) {
                    (POD_INDEX_LABEL, "the ordinal") => ordinal.to_string(),
                    (POD_NAME_LABEL, "the pod name") => pod_name(SET, *ordinal),
                    _ => return Err(not_understood("a label", &format!("{label}: {meaning}"))),
                };
                let labels = pod.metadata.labels.as_ref();
                equal(&Some(&expected), &labels.and_then(|labels| labels.get(label)))?;
            }
        }
        expect.invariants.iter().flatten().try_for_each(|invariant| self.check_invariant(invariant))
    }

    fn check_invariant(&self, invariant: &str) -> Result<(), Difference> {
        let objects = &self.world.objects;
        match invariant {
            "the recreated pod has the same name and uses the same claims" => {
                for (ordinal, pod) in &objects.pods {
                    equal(&Some(&pod_name(SET, *ordinal)), &pod.metadata.name.as_ref())?;
                    equal(&vec![claim_name(&self.claim, SET, *ordinal)], &claim_names(pod))?;
                }
                // One claim per ordinal: no pod that came again brought another.
                equal(&objects.pods.len(), &objects.claims.len())
            }
            "claims of live pods carry no owner reference to the pod" => {
                let owners = objects
                    .claims
                    .values()
                    .flat_map(|claim| claim.metadata.owner_references.iter().flatten());
                equal(&0, &owners.filter(|owner| owner.kind == "Pod").count())
            }
            other => Err(not_understood("an invariant", other)),
        }
    }
}

/// Whether each pass went in batches as the rule says.
fn check_batches(rule: &str, passes: &[Vec<(usize, usize)>]) -> Result<(), Difference> {
    if rule != "batch sizes 1,2,4,... up to 500; a batch with an error stops the pass" {
        return Err(not_understood("a rule", rule));
    }
    for pass in passes {
        // A pass goes through the set's pods first, then through those beyond: batches begin anew with 1.
        let mut wanted = 1;
        for (index, (pods, _)) in pass.iter().enumerate() {
            let begins_anew = *pods == 1;
            let is_last = pass.get(index + 1).is_none_or(|next| next.0 == 1);
            if *pods != wanted && !begins_anew && !(is_last && *pods < wanted) {
                return Err(Difference::new(format!("a batch of {wanted}"), format!("{pass:?}")));
            }
            wanted = if begins_anew { 2 } else { (wanted * 2).min(500) };
        }
    }
    Ok(())
}

fn healthy_pod(ordinal: u64) -> InitialPod {
    let phase = Some("Running".into());
    InitialPod { ordinal, phase, ready: Some(true), available: Some(true), ready_for_s: None, revision: None }
}

fn no_pod(what: String) -> Difference {
    Difference::new("a pod that is there", what)
}
