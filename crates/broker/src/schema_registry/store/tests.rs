use super::*;
use crate::schema_registry::error::ErrorCode;

/// A topic and the store that it was fed to.
#[derive(Default)]
struct Topic {
    store: Store,
    end: i64,
}

impl Topic {
    fn append(&mut self, key: &str, value: Option<&str>) {
        self.store.feed(self.end, Some(key.as_bytes()), value.map(str::as_bytes));
        self.end += 1;
    }

    fn schema(&mut self, subject: &str, version: i32, id: i32, text: &str, deleted: bool) {
        let seq = self.end;
        self.schema_meant_for(seq, subject, version, id, text, deleted);
    }

    fn schema_meant_for(
        &mut self,
        seq: i64,
        subject: &str,
        version: i32,
        id: i32,
        text: &str,
        deleted: bool,
    ) {
        let key = schema_key(seq, subject, version);
        let text = serde_json::to_string(text).unwrap();
        let value = format!(
            r#"{{"subject":"{subject}","version":{version},"id":{id},"schema":{text},"deleted":{deleted}}}"#
        );
        self.append(&key, Some(&value));
    }
}

fn schema_key(seq: i64, subject: &str, version: i32) -> String {
    format!(
        r#"{{"keytype":"SCHEMA","subject":"{subject}","version":{version},"magic":1,"seq":{seq},"node":0}}"#
    )
}

fn subject(name: &str) -> Subject {
    Subject::parse(name)
}

fn names(store: &Store, deleted: bool) -> Vec<String> {
    store.subjects(deleted).map(Subject::to_string).collect()
}

#[test]
fn schemas_are_found_by_subject_id_and_definition() {
    let mut topic = Topic::default();
    topic.schema("orders", 1, 1, "\"string\"", false);
    topic.schema("orders", 2, 2, "\"int\"", false);
    topic.schema("users", 1, 1, "\"string\"", false);
    let store = &topic.store;
    assert_eq!(store.versions(&subject("orders"), false), Ok(vec![1, 2]));
    assert_eq!(&*store.schema(".", 2).unwrap().text, "\"int\"");
    let used: Vec<String> = store
        .versions_of_schema(".", 1, false)
        .unwrap()
        .iter()
        .map(|(subject, version)| format!("{subject} {version}"))
        .collect();
    assert_eq!(used, ["orders 1", "users 1"]);
    let latest = store.version(&subject("orders"), VersionName::Latest, false).unwrap();
    assert_eq!((latest.version, latest.id), (2, 2));
    assert_eq!((store.next_id("."), store.next_version(&subject("orders"))), (3, 3));
    assert_eq!(store.id_of(".", &latest.definition), Some(2));
    assert_eq!((store.next_id(".other"), store.next_version(&subject("new"))), (1, 1));
}

#[test]
fn what_lost_its_race_is_passed_over() {
    let mut topic = Topic::default();
    topic.schema("orders", 1, 1, "\"string\"", false);
    topic.schema_meant_for(0, "orders", 1, 1, "\"int\"", false);
    assert_eq!(topic.store.next_offset(), 2);
    assert_eq!(&*topic.store.schema(".", 1).unwrap().text, "\"string\"");
    // What Confluent's registry wrote has no place of its own.
    topic.append(
        r#"{"keytype":"SCHEMA","subject":"orders","version":2,"magic":1}"#,
        Some(r#"{"subject":"orders","version":2,"id":2,"schema":"\"int\"","deleted":false}"#),
    );
    assert_eq!(topic.store.versions(&subject("orders"), false), Ok(vec![1, 2]));
}

#[test]
fn nothing_is_fed_twice_and_bad_records_are_passed_over() {
    let mut topic = Topic::default();
    topic.append("nonsense", Some("{}"));
    topic.store.feed(1, None, None);
    topic.end = 2;
    topic.schema("orders", 1, 1, "\"string\"", false);
    let before = format!("{:?}", topic.store);
    topic.store.feed(2, Some(schema_key(2, "orders", 1).as_bytes()), None);
    assert_eq!(format!("{:?}", topic.store), before);
    topic.store.skip_to(10);
    assert_eq!(topic.store.next_offset(), 10);
}

#[test]
fn soft_deletion_hides_and_tombstones_forget() {
    let mut topic = Topic::default();
    topic.schema("orders", 1, 1, "\"string\"", false);
    topic.schema("orders", 2, 2, "\"int\"", false);
    topic.schema("orders", 1, 1, "\"string\"", true);
    assert_eq!(topic.store.versions(&subject("orders"), false), Ok(vec![2]));
    assert_eq!(topic.store.versions(&subject("orders"), true), Ok(vec![1, 2]));
    let hidden = topic.store.version(&subject("orders"), VersionName::Number(1), false).unwrap_err();
    assert_eq!(hidden.code, ErrorCode::VersionNotFound);
    topic.append(
        r#"{"keytype":"DELETE_SUBJECT","subject":"orders","magic":0,"seq":3,"node":0}"#,
        Some(r#"{"subject":"orders"}"#),
    );
    assert_eq!((names(&topic.store, false), names(&topic.store, true)), (vec![], vec!["orders".to_owned()]));
    assert!(topic.store.schema(".", 2).is_ok(), "a soft-deleted schema is still found by its id");
    assert_eq!(topic.store.version_keys(&subject("orders"), 1).len(), 2);
    assert_eq!(topic.store.deletion_keys(&subject("orders")).len(), 1);
    for (seq, version) in [(0, 1), (2, 1), (1, 2)] {
        topic.append(&schema_key(seq, "orders", version), None);
    }
    assert_eq!(names(&topic.store, true), Vec::<String>::new());
    assert_eq!(topic.store.schema(".", 1).unwrap_err().code, ErrorCode::SchemaNotFound);
    assert!(topic.store.ids.is_empty() && topic.store.schemas.is_empty());
}

#[test]
fn settings_are_looked_for_from_the_inside_out() {
    let mut topic = Topic::default();
    let orders = subject(":.staging:orders");
    let config = |subject: &str| format!(r#"{{"keytype":"CONFIG","subject":{subject},"magic":0}}"#);
    let mode = |subject: &str| format!(r#"{{"keytype":"MODE","subject":{subject},"magic":0}}"#);
    assert_eq!(topic.store.compatibility(&orders), Compatibility::Backward);
    topic.append(&config("null"), Some(r#"{"compatibilityLevel":"FULL"}"#));
    assert_eq!(topic.store.compatibility(&orders), Compatibility::Full);
    topic.append(&config("\":.staging:\""), Some(r#"{"compatibilityLevel":"NONE"}"#));
    assert_eq!(topic.store.compatibility(&orders), Compatibility::None);
    assert_eq!(topic.store.compatibility(&subject("orders")), Compatibility::Full);
    topic.append(&config("\":.staging:orders\""), Some(r#"{"compatibilityLevel":"FORWARD"}"#));
    assert_eq!(topic.store.compatibility(&orders), Compatibility::Forward);
    topic.append(&config("\":.staging:orders\""), None);
    assert_eq!(topic.store.compatibility(&orders), Compatibility::None);
    topic.append(&mode("null"), Some(r#"{"mode":"READONLY"}"#));
    topic.append(&mode("\":.staging:\""), Some(r#"{"mode":"IMPORT"}"#));
    assert_eq!(topic.store.mode(Some(&orders)), Mode::Import);
    assert_eq!(
        (topic.store.mode(None), topic.store.mode(Some(&subject("x")))),
        (Mode::ReadOnly, Mode::ReadOnly)
    );
}

#[test]
fn references_are_known_from_both_ends() {
    let mut topic = Topic::default();
    topic.schema("address", 1, 1, r#"{"type":"record","name":"Address","fields":[]}"#, false);
    let customer = r#"{"type":"record","name":"Customer","fields":[{"name":"home","type":"Address"}]}"#;
    let value = serde_json::json!({
        "subject": "customer", "version": 1, "id": 2, "schema": customer, "deleted": false,
        "references": [{"name": "Address", "subject": "address", "version": 1}],
    });
    let written = |deleted: bool| {
        let mut value = value.clone();
        value["deleted"] = deleted.into();
        value.to_string()
    };
    topic.append(&schema_key(1, "customer", 1), Some(&written(false)));
    assert_eq!(topic.store.referrers(&subject("address"), 1), [2]);
    let stored = topic.store.stored(&subject("customer"), 1).unwrap();
    topic.store.parse(&stored.subject, &stored.definition).unwrap();
    topic.append(&schema_key(2, "customer", 1), Some(&written(true)));
    assert_eq!(topic.store.referrers(&subject("address"), 1), Vec::<i32>::new());
    for seq in [1, 2] {
        topic.append(&schema_key(seq, "customer", 1), None);
    }
    assert!(topic.store.referrers.is_empty());
}

#[test]
fn an_id_may_come_to_stand_for_another_schema() {
    let mut topic = Topic::default();
    topic.schema("orders", 1, 1, "\"string\"", false);
    topic.schema("orders", 1, 1, "\"int\"", false);
    assert_eq!(&*topic.store.schema(".", 1).unwrap().text, "\"int\"");
    topic.schema("orders", 1, 5, "\"long\"", false);
    assert_eq!(topic.store.schema(".", 1).unwrap_err().code, ErrorCode::SchemaNotFound);
    assert_eq!(topic.store.next_id("."), 6);
    assert_eq!(topic.store.ids.len(), 1);
}

#[test]
fn contexts_keep_their_ids_apart() {
    let mut topic = Topic::default();
    topic.schema("orders", 1, 1, "\"string\"", false);
    topic.schema(":.staging:orders", 1, 1, "\"int\"", false);
    assert_eq!(&*topic.store.schema(".", 1).unwrap().text, "\"string\"");
    assert_eq!(&*topic.store.schema(".staging", 1).unwrap().text, "\"int\"");
    assert_eq!(topic.store.contexts().into_iter().collect::<Vec<_>>(), [".", ".staging"]);
    assert_eq!(names(&topic.store, false), ["orders", ":.staging:orders"]);
}

#[test]
fn versions_are_named_by_number_or_latest() {
    assert_eq!(VersionName::parse("latest"), Ok(VersionName::Latest));
    assert_eq!(VersionName::parse("-1"), Ok(VersionName::Latest));
    assert_eq!(VersionName::parse("2147483647"), Ok(VersionName::Number(i32::MAX)));
    for bad in ["0", "-2", "2147483648", "x", ""] {
        assert_eq!(VersionName::parse(bad).unwrap_err().code, ErrorCode::InvalidVersion, "{bad}");
    }
}
