//! The store as its users see it.

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, PodSpec};

use super::*;

fn pod(name: &str, node: Option<&str>) -> Pod {
    Pod {
        metadata: ObjectMeta { name: Some(name.into()), namespace: Some("ns".into()), ..Default::default() },
        spec: Some(PodSpec { node_name: node.map(Into::into), ..Default::default() }),
        status: None,
    }
}

#[test]
fn a_second_object_of_the_same_name_is_refused() {
    let mut store = Store::default();
    store.create(pod("a", None), Time::ZERO).unwrap();
    let refused = store.create(pod("a", None), Time::ZERO).unwrap_err();
    assert_eq!(refused.to_string(), "Pod ns/a already exists");
}

#[test]
fn an_update_with_an_old_version_conflicts() {
    let mut store = Store::default();
    let first = store.create(pod("a", None), Time::ZERO).unwrap();
    let mut changed = Pod::clone(&first);
    changed.metadata.labels = Some([("app".to_string(), "x".to_string())].into());
    let second = store.update(changed.clone(), Time::ZERO).unwrap();
    assert_eq!(second.metadata.generation, Some(2));
    changed.metadata.labels = None;
    assert!(matches!(store.update(changed, Time::ZERO), Err(StoreError::Conflict { .. })));
    assert_eq!(store.get::<Pod>("ns", "a"), Some(&second));
}

#[test]
fn a_change_that_changes_nothing_is_no_change() {
    let mut store = Store::default();
    store.create(pod("a", None), Time::ZERO).unwrap();
    let cursor = store.cursor();
    store.patch::<Pod>("ns", "a", Time::ZERO, |_| {}).unwrap();
    assert_eq!(store.changes_since(cursor).unwrap().count(), 0);
}

#[test]
fn a_running_pod_stays_until_its_kubelet_confirms() {
    let mut store = Store::default();
    let first = store.create(pod("a", Some("node-0")), Time::ZERO).unwrap();
    let now = Time::from_nanos(5_000_000_000);
    let delete = |store: &mut Store| store.delete::<Pod>("ns", "a", None, Grace::AsDeclared, now);
    assert_eq!(delete(&mut store), Ok(Deletion::Marked));
    assert_eq!(delete(&mut store), Ok(Deletion::AlreadyMarked));
    let marked = store.get::<Pod>("ns", "a").unwrap();
    assert_eq!(
        marked.metadata.deletion_timestamp.as_ref().map(time_of),
        Some(now + TERMINATION_GRACE_DEFAULT)
    );
    store.remove::<Pod>("ns", "a", first.metadata.uid.as_deref(), now).unwrap();
    let second = store.create(pod("a", Some("node-0")), now).unwrap();
    assert_ne!(first.metadata.uid, second.metadata.uid);
    let late = store.remove::<Pod>("ns", "a", first.metadata.uid.as_deref(), now);
    assert!(matches!(late, Err(StoreError::OtherObject { .. })));
}

#[test]
fn an_unbound_or_forced_pod_goes_at_once() {
    let mut store = Store::default();
    store.create(pod("a", None), Time::ZERO).unwrap();
    store.create(pod("b", Some("node-0")), Time::ZERO).unwrap();
    assert_eq!(store.delete::<Pod>("ns", "a", None, Grace::AsDeclared, Time::ZERO), Ok(Deletion::Removed));
    assert_eq!(store.delete::<Pod>("ns", "b", None, Grace::Forced, Time::ZERO), Ok(Deletion::Removed));
    assert_eq!(store.list::<Pod>().count(), 0);
}

#[test]
fn finalizers_keep_a_deleted_claim() {
    let mut store = Store::default();
    let meta = ObjectMeta {
        name: Some("data".into()),
        finalizers: Some(vec!["kubernetes.io/pvc-protection".into()]),
        ..Default::default()
    };
    store.create(PersistentVolumeClaim { metadata: meta, ..Default::default() }, Time::ZERO).unwrap();
    let deletion =
        store.delete::<PersistentVolumeClaim>("default", "data", None, Grace::AsDeclared, Time::ZERO);
    assert_eq!(deletion, Ok(Deletion::Marked));
    store
        .patch::<PersistentVolumeClaim>("default", "data", Time::ZERO, |claim| {
            claim.metadata.finalizers = None
        })
        .unwrap();
    assert!(store.get::<PersistentVolumeClaim>("default", "data").is_none());
}

#[test]
fn watches_see_changes_in_order_and_expire() {
    let mut store = Store::with_changes_kept(3);
    let start = store.cursor();
    store.create(pod("a", None), Time::ZERO).unwrap();
    let after_first = store.cursor();
    store.create(pod("b", None), Time::ZERO).unwrap();
    store.delete::<Pod>("ns", "a", None, Grace::Forced, Time::ZERO).unwrap();
    let seen: Vec<_> = store
        .changes_since(after_first)
        .unwrap()
        .map(|change| (change.action, change.key.name.as_str()))
        .collect();
    assert_eq!(seen, [(Action::Added, "b"), (Action::Deleted, "a")]);
    store.create(pod("c", None), Time::ZERO).unwrap();
    assert_eq!(store.changes_since(start).map(|_| ()).unwrap_err(), CursorExpired { missed: 1 });
    assert_eq!(store.changes_since(after_first).unwrap().count(), 3);
}

#[test]
fn lists_are_by_namespace_and_name_and_stay_in_their_kind() {
    let mut store = Store::default();
    for name in ["b", "a"] {
        store.create(pod(name, None), Time::ZERO).unwrap();
        let meta = ObjectMeta { name: Some(name.into()), namespace: Some("no".into()), ..Default::default() };
        store.create(Node { metadata: meta, ..Default::default() }, Time::ZERO).unwrap();
    }
    let names: Vec<_> = store.list_in::<Pod>("ns").map(|pod| pod.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(store.list_in::<Pod>("n").count(), 0);
    assert!(store.get::<Node>("", "a").is_some_and(|node| node.metadata.namespace.is_none()));
}

#[test]
fn generated_names_are_deterministic_and_distinct() {
    let mut store = Store::default();
    let generated = |store: &mut Store| {
        let mut pod = pod("", None);
        pod.metadata.generate_name = Some("web-".into());
        store.create(pod, Time::ZERO).unwrap().metadata.name.clone().unwrap()
    };
    let names = [generated(&mut store), generated(&mut store)];
    assert_ne!(names[0], names[1]);
    assert_eq!(names[0], generated(&mut Store::default()));
    assert!(matches!(store.create(pod("", None), Time::ZERO), Err(StoreError::Nameless(Kind::Pod))));
}
