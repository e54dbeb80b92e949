//! What people do to a StatefulSet, and the events that follow (kubernetes.md 9.3, 9.13, 9.14 and 1.5).

use hopwise_kube::cluster::{Cascade, Cluster, OperationError};
use hopwise_kube::store::{Kind, pod_state};
use hopwise_tests::sets::{self, SET, SetOf, events_so_far, history, pods, seconds, uids};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;

fn claims(cluster: &Cluster) -> Vec<(String, Option<String>)> {
    cluster.api().read(|store| {
        let claims = store.list_in::<PersistentVolumeClaim>(SET.0);
        let volume =
            |claim: &PersistentVolumeClaim| claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
        claims.map(|claim| (claim.metadata.name.clone().unwrap_or_default(), volume(claim))).collect()
    })
}

fn steps(what: &[&str], ordinals: &[u32]) -> Vec<String> {
    let of = |ordinal: &u32| what.iter().map(move |what| format!("{what} {ordinal}")).collect::<Vec<_>>();
    ordinals.iter().flat_map(of).collect()
}

fn is_owned(cluster: &Cluster, ordinal: u32) -> bool {
    sets::pod(cluster, ordinal)
        .is_some_and(|pod| pod.metadata.owner_references.is_some_and(|it| !it.is_empty()))
}

#[test]
fn a_rolling_restart_goes_from_the_top_and_waits_for_each_pod() {
    SetOf { more: ", minReadySeconds: 20".into(), ..SetOf::ordered(3) }.run(&[], |cluster| async move {
        let (before, volumes) = (uids(&cluster), claims(&cluster));
        let (from, started) = (events_so_far(), hopwise_engine::now());
        cluster.restart_rollout(Kind::StatefulSet, SET.0, SET.1).expect("the set is there");
        seconds(30).await;
        let updated = |cluster: &Cluster| {
            let set = cluster.api().read(|store| store.get::<StatefulSet>(SET.0, SET.1).cloned());
            set.and_then(|set| set.status.as_ref().and_then(|status| status.updated_replicas))
        };
        assert_eq!(updated(&cluster), Some(1), "updated replicas grow from the top");
        seconds(270).await;
        assert_eq!(history(from), steps(&["deleted", "stopped", "created", "ready"], &[2, 1, 0]));
        assert_eq!(updated(&cluster), Some(3));
        assert_eq!(claims(&cluster), volumes);
        assert!(uids(&cluster).iter().all(|uid| !before.contains(uid)));
        // Each pod is available, 20 s after it is ready, before the next one goes.
        let events = hopwise_engine::notable_events();
        let at = |kind: &str, ordinal: u32| {
            let object = format!("pod data/db-{ordinal}");
            let found = events.iter().find(|it| it.kind == kind && it.object == object && it.at > started);
            found.map(|event| event.at).expect("it has happened")
        };
        for ordinal in [2, 1] {
            let waited = at("pod.deleted", ordinal - 1) - at("pod.ready", ordinal);
            assert!((20..22).contains(&(waited.as_nanos() / 1_000_000_000)), "{waited:?}");
        }
    });
}

#[test]
fn pods_that_are_scaled_away_come_back_to_their_data() {
    SetOf::ordered(3).run(&[], |cluster| async move {
        let scale = |replicas| cluster.scale(Kind::StatefulSet, SET.0, SET.1, replicas);
        let from = events_so_far();
        scale(5).expect("the set is there");
        seconds(60).await;
        assert_eq!(history(from), steps(&["created", "ready"], &[3, 4]));
        let (grown, before) = (claims(&cluster), uids(&cluster));
        assert!(grown.len() == 5 && grown.iter().all(|(_, volume)| volume.is_some()));

        let from = events_so_far();
        scale(3).expect("the set is there");
        seconds(60).await;
        assert_eq!(history(from), steps(&["deleted", "stopped"], &[4, 3]));
        assert_eq!(claims(&cluster), grown, "claims stay");

        scale(5).expect("the set is there");
        seconds(60).await;
        assert_eq!(pods(&cluster).len(), 5);
        assert_eq!(claims(&cluster), grown, "the same volumes, with the old data");
        assert_ne!(uids(&cluster), before);
    });
}

#[test]
fn a_claim_that_goes_with_its_ordinal_comes_back_empty() {
    let more =
        ", persistentVolumeClaimRetentionPolicy: { whenScaled: Delete, whenDeleted: Retain }".to_owned();
    SetOf { more, ..SetOf::ordered(2) }.run(&[], |cluster| async move {
        let before = claims(&cluster);
        cluster.scale(Kind::StatefulSet, SET.0, SET.1, 1).expect("the set is there");
        seconds(60).await;
        assert_eq!(claims(&cluster), before[..1]);
        let volumes = cluster.api().read(|store| store.list::<PersistentVolume>().count());
        assert_eq!(volumes, 1, "the volume of the deleted claim is deleted too");
        cluster.scale(Kind::StatefulSet, SET.0, SET.1, 2).expect("the set is there");
        seconds(60).await;
        let after = claims(&cluster);
        assert_eq!((after.len(), &after[1].0), (2, &before[1].0));
        assert_ne!(after[1].1, before[1].1, "another volume");
    });
}

#[test]
fn a_claim_in_use_goes_with_its_pod() {
    SetOf::ordered(1).run(&[], |cluster| async move {
        let before = claims(&cluster);
        cluster.delete_claim(SET.0, "data-db-0").expect("the claim is there");
        seconds(60).await;
        assert_eq!(claims(&cluster), before, "a pod uses it");
        assert_eq!(pods(&cluster), [(0, true)]);
        cluster.delete_pod(SET.0, "db-0", hopwise_kube::store::Grace::AsDeclared).expect("the pod is there");
        seconds(60).await;
        assert_eq!(pods(&cluster), [(0, true)]);
        assert_ne!(claims(&cluster)[0].1, before[0].1, "a fresh claim");
    });
}

#[test]
fn orphans_are_taken_up_by_a_new_set_and_rolled_only_if_their_template_differs() {
    SetOf::ordered(2).run(&[], |cluster| async move {
        let set = cluster.api().read(|store| store.get::<StatefulSet>(SET.0, SET.1).cloned());
        let mut set = StatefulSet::clone(&set.expect("the set is there"));
        let (before, volumes, from) = (uids(&cluster), claims(&cluster), events_so_far());
        cluster.delete_workload(Kind::StatefulSet, SET.0, SET.1, Cascade::Orphan).expect("the set is there");
        seconds(60).await;
        assert!(cluster.api().read(|store| store.get::<StatefulSet>(SET.0, SET.1).is_none()));
        assert_eq!(uids(&cluster), before);
        assert!(!is_owned(&cluster, 0) && !is_owned(&cluster, 1));

        // The fields that cannot be changed in place.
        set.spec.get_or_insert_default().pod_management_policy = Some("Parallel".into());
        cluster.create_stateful_set(set).expect("the name is free");
        seconds(60).await;
        assert!(is_owned(&cluster, 0) && is_owned(&cluster, 1));
        assert_eq!((uids(&cluster), claims(&cluster)), (before.clone(), volumes));
        assert!(history(from).is_empty(), "{:?}", history(from));
        let revisions = cluster.api().read(|store| store.list_in::<ControllerRevision>(SET.0).count());
        assert_eq!(revisions, 1);

        cluster.delete_workload(Kind::StatefulSet, SET.0, SET.1, Cascade::Orphan).expect("the set is there");
        let set = cluster.api().read(|store| store.get::<StatefulSet>(SET.0, SET.1).cloned());
        let mut set = StatefulSet::clone(&set.expect("it goes once its pods are let go"));
        seconds(60).await;
        let template = &mut set.spec.get_or_insert_default().template;
        template.spec.get_or_insert_default().containers[0].image = Some("example/db:2".into());
        set.metadata.deletion_timestamp = None;
        cluster.create_stateful_set(set).expect("the name is free");
        seconds(60).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true)]);
        assert!(uids(&cluster).iter().all(|uid| !before.contains(uid)), "revision labels decide");
    });
}

#[test]
fn a_deleted_set_takes_its_pods_along_and_claims_as_their_policy_says() {
    let more =
        ", persistentVolumeClaimRetentionPolicy: { whenScaled: Retain, whenDeleted: Delete }".to_owned();
    SetOf { more, ..SetOf::ordered(3) }.run(&[], |cluster| async move {
        let from = events_so_far();
        cluster
            .delete_workload(Kind::StatefulSet, SET.0, SET.1, Cascade::Background)
            .expect("the set is there");
        seconds(60).await;
        assert!(pods(&cluster).is_empty() && claims(&cluster).is_empty());
        // All at once: in no order.
        assert_eq!(history(from)[..3], steps(&["deleted"], &[0, 1, 2]));
        let left = cluster.api().read(|store| {
            let revisions = store.list_in::<ControllerRevision>(SET.0).count();
            let endpoints =
                store.list_in::<EndpointSlice>(SET.0).flat_map(|it| it.endpoints.iter().flatten());
            (revisions, endpoints.count(), store.list::<PersistentVolume>().count())
        });
        assert_eq!(left, (0, 0, 0));
    });
}

#[test]
fn a_bad_template_stops_the_update_and_a_rollback_alone_does_not_help() {
    SetOf::ordered(3).run(&[], |cluster| async move {
        let revision = |cluster: &Cluster| {
            let set = cluster.api().read(|store| store.get::<StatefulSet>(SET.0, SET.1).cloned());
            let status = set.and_then(|set| set.status.clone()).unwrap_or_default();
            (status.current_revision, status.update_revision)
        };
        let sound = revision(&cluster);
        assert_eq!(sound.0, sound.1);
        let refused = cluster.roll_back(Kind::StatefulSet, SET.0, SET.1);
        assert!(
            matches!(refused, Err(OperationError::Refused(_))),
            "there is no earlier template: {refused:?}"
        );
        sets::set_startable(&cluster, false);
        seconds(300).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, false)]);
        assert_ne!(revision(&cluster).0, revision(&cluster).1);
        cluster.roll_back(Kind::StatefulSet, SET.0, SET.1).expect("there is an earlier template");
        seconds(300).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, false)]);
        cluster.delete_pod(SET.0, "db-2", hopwise_kube::store::Grace::AsDeclared).expect("the pod is there");
        seconds(60).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, true)]);
        assert_eq!(revision(&cluster), sound, "the earlier revision is in use again");
    });
}

#[test]
fn a_deployment_rolls_within_its_surge_and_unavailability() {
    const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, namespace: data }\nspec:\n  \
        replicas: 4\n  selector: { matchLabels: { app: web } }\n  template:\n    \
        metadata: { labels: { app: web } }\n    spec: { containers: [{ name: web, image: example/web:1 }] }\n";
    SetOf::ordered(1).run(&[WEB], |cluster| async move {
        let web = |cluster: &Cluster| -> Vec<(String, bool)> {
            cluster.api().read(|store| {
                let pods = store.list_in::<Pod>(SET.0).filter(|pod| !pod_state::is_terminating(pod));
                let hash = |pod: &Pod| pod.metadata.labels.as_ref()?.get("pod-template-hash").cloned();
                pods.filter_map(|pod| Some((hash(pod)?, pod_state::is_ready(pod)))).collect()
            })
        };
        let old = web(&cluster)[0].0.clone();
        cluster.set_image(Kind::Deployment, SET.0, "web", "web", "example/web:2").expect("it is there");
        for _ in 0..600 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let now = web(&cluster);
            assert!(now.len() <= 5, "surge of 25 %: {now:?}");
            assert!(now.iter().filter(|(_, ready)| *ready).count() >= 3, "25 % unavailable: {now:?}");
        }
        let now = web(&cluster);
        assert!(now.len() == 4 && now.iter().all(|(hash, ready)| *hash != old && *ready), "{now:?}");
        cluster.scale(Kind::Deployment, SET.0, "web", 2).expect("it is there");
        seconds(30).await;
        assert_eq!(web(&cluster).len(), 2);
        cluster.delete_workload(Kind::Deployment, SET.0, "web", Cascade::Background).expect("it is there");
        seconds(30).await;
        assert!(web(&cluster).is_empty());
        assert!(cluster.api().read(|store| store.get::<Deployment>(SET.0, "web").is_none()));
    });
}

#[test]
fn operations_on_what_is_not_there_are_refused() {
    SetOf::ordered(1).run(&[], |cluster| async move {
        let gone = cluster.scale(Kind::StatefulSet, SET.0, "other", 1).expect_err("there is no such set");
        assert_eq!(gone.to_string(), "StatefulSet data/other does not exist");
        let kind = cluster.scale(Kind::Service, SET.0, SET.1, 1).expect_err("a Service has no pods");
        assert!(kind.to_string().contains("expected a StatefulSet or a Deployment"));
        let container = cluster.set_image(Kind::StatefulSet, SET.0, SET.1, "web", "x");
        assert!(container.expect_err("no such container").to_string().contains("no container web"));
    });
}
