use super::*;
use crate::schema_registry::records::Sequence;
use crate::schema_registry::schema::{Definition, Reference, SchemaType};
use crate::schema_registry::settings::Compatibility;
use crate::schema_registry::store::VersionName;

/// A store whose decisions are written at once.
#[derive(Default)]
struct Registry {
    store: Store,
}

fn subject(name: &str) -> Subject {
    Subject::parse(name)
}

fn posted(text: &str) -> Registration {
    let definition = Definition { schema_type: SchemaType::Avro, text: text.into(), references: Vec::new() };
    Registration { definition, id: None, version: None, normalize: false }
}

fn record(fields: &str) -> Registration {
    posted(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#))
}

const A: &str = r#"{"name":"a","type":"string"}"#;
const AB: &str = r#"{"name":"a","type":"string"},{"name":"b","type":"int"}"#;
const AC: &str = r#"{"name":"a","type":"string"},{"name":"c","type":"int","default":0}"#;

impl Registry {
    fn write<T>(&mut self, decide: impl FnOnce(&Store, Sequence) -> Decided<T>) -> Result<T, u32> {
        let at = Sequence { offset: Some(self.store.next_offset()), node: Some(0) };
        match decide(&self.store, at).map_err(|error| error.code.number())? {
            Decision::Done(outcome) => Ok(outcome),
            Decision::Write { records, outcome, .. } => {
                for record in records {
                    let (key, value) = record.write();
                    self.store.feed(self.store.next_offset(), Some(&key), value.as_deref());
                }
                Ok(outcome)
            }
        }
    }

    fn register(&mut self, name: &str, posted: &Registration) -> Result<i32, u32> {
        self.write(|store, at| register(store, &subject(name), posted, at))
    }

    fn delete(&mut self, name: &str, permanent: bool) -> Result<Vec<i32>, u32> {
        self.write(|store, at| delete_subject(store, &subject(name), permanent, at))
    }

    fn delete_version(&mut self, name: &str, version: i32, permanent: bool) -> Result<i32, u32> {
        let version = VersionName::Number(version);
        self.write(|store, at| delete_version(store, &subject(name), version, permanent, at))
    }

    fn level(&mut self, name: Option<&str>, level: Compatibility) -> Result<Compatibility, u32> {
        let name = name.map(subject);
        self.write(|store, at| put_compatibility(store, name.as_ref(), level, at))
    }

    fn mode(&mut self, name: Option<&str>, mode: Mode, force: bool) -> Result<Mode, u32> {
        let name = name.map(subject);
        self.write(|store, at| put_mode(store, name.as_ref(), mode, force, at))
    }
}

#[test]
fn ids_are_global_and_a_schema_is_registered_once() {
    let mut registry = Registry::default();
    assert_eq!(registry.register("orders", &posted("\"string\"")), Ok(1));
    let end = registry.store.next_offset();
    assert_eq!(registry.register("orders", &posted(" \"string\" ")), Ok(1));
    assert_eq!(registry.store.next_offset(), end, "nothing was written");
    assert_eq!(registry.register("users", &posted("\"string\"")), Ok(1));
    assert_eq!(registry.register("users", &posted("\"bytes\"")), Ok(2));
    assert_eq!(registry.store.versions(&subject("users"), false), Ok(vec![1, 2]));
    assert_eq!(registry.register("orders", &posted("nothing at all")), Err(42201));
}

#[test]
fn levels_decide_what_fits() {
    use Compatibility::{
        Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive, None,
    };
    // Registered first, then the new schema, and the levels that let it in.
    let cases: [(&[&str], &str, &[Compatibility]); 4] = [
        (&[A], AB, &[None, Forward, ForwardTransitive]),
        (&[AB], A, &[None, Backward, BackwardTransitive]),
        (&[A], AC, &Compatibility::ALL),
        // The last version has no `b`, an earlier one had.
        (
            &[AB, A],
            r#"{"name":"a","type":"string"},{"name":"b","type":"string","default":""}"#,
            &[None, Backward, Forward, Full],
        ),
    ];
    for (earlier, new, admitted) in cases {
        for level in [None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive] {
            let mut registry = Registry::default();
            registry.level(Option::None, None).unwrap();
            for schema in earlier {
                registry.register("s", &record(schema)).unwrap();
            }
            registry.level(Some("s"), level).unwrap();
            let expected = if admitted.contains(&level) { Ok(earlier.len() as i32 + 1) } else { Err(409) };
            assert_eq!(registry.register("s", &record(new)), expected, "{earlier:?} {new} {level}");
        }
    }
}

#[test]
fn incompatibilities_name_the_version() {
    let mut registry = Registry::default();
    registry.register("s", &record(A)).unwrap();
    let check = |registry: &Registry, name, new: &str| {
        check_compatibility(&registry.store, &subject("s"), name, &record(new))
    };
    assert_eq!(check(&registry, VersionName::Latest, AC), Ok(vec![]));
    let problems = check(&registry, VersionName::Number(1), AB).unwrap();
    assert!(problems[0].contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{problems:?}");
    assert_eq!(problems[1], "{oldSchemaVersion: 1}");
    assert_eq!(problems[3], "{compatibility: 'BACKWARD'}");
    assert_eq!(check(&registry, VersionName::Number(2), AB).unwrap_err().code.number(), 40402);
    let other = check_compatibility(&registry.store, &subject("x"), VersionName::Latest, &record(A));
    assert_eq!(other.unwrap_err().code.number(), 40401);
    let mut json = record(A);
    json.definition.schema_type = SchemaType::Json;
    json.definition.text = "{}".into();
    assert_eq!(registry.register("s", &json), Err(409));
}

#[test]
fn an_earlier_schema_that_cannot_be_read_is_an_internal_error() {
    let mut registry = Registry::default();
    registry.store.feed(
        0,
        Some(br#"{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}"#),
        Some(br#"{"subject":"s","version":1,"id":1,"schema":"nonsense","deleted":false}"#),
    );
    assert_eq!(registry.register("s", &record(A)), Err(500));
}

#[test]
fn deleting_goes_in_two_steps() {
    let mut registry = Registry::default();
    assert_eq!(registry.delete("s", false), Err(40401));
    registry.register("s", &record(A)).unwrap();
    registry.register("s", &record(AC)).unwrap();
    registry.level(Some("s"), Compatibility::Full).unwrap();
    assert_eq!(registry.delete_version("s", 3, false), Err(40402));
    assert_eq!(registry.delete_version("s", 1, true), Err(40407));
    assert_eq!(registry.delete_version("s", 1, false), Ok(1));
    assert_eq!(registry.delete_version("s", 1, false), Err(40406));
    assert_eq!(registry.delete_version("s", 1, true), Ok(1));
    assert_eq!(registry.delete_version("s", 1, true), Err(40402));
    assert_eq!(registry.delete("s", true), Err(40405));
    assert_eq!(registry.delete("s", false), Ok(vec![2]));
    assert_eq!(registry.store.own_compatibility(Some(&subject("s"))), None, "its level goes with it");
    assert_eq!(registry.delete("s", false), Err(40404));
    // A version number is not used again while the deleted one is remembered.
    registry.register("s", &record(A)).unwrap();
    assert_eq!(registry.store.versions(&subject("s"), true), Ok(vec![2, 3]));
    registry.delete("s", false).unwrap();
    assert_eq!(registry.delete("s", true), Ok(vec![2, 3]));
    assert_eq!(registry.delete("s", true), Err(40401));
    assert_eq!(registry.store.subjects(true).count(), 0);
}

#[test]
fn the_last_version_takes_the_subject_along() {
    let mut registry = Registry::default();
    registry.register("s", &record(A)).unwrap();
    registry.level(Some("s"), Compatibility::Full).unwrap();
    registry.delete_version("s", 1, false).unwrap();
    assert_eq!(registry.store.own_compatibility(Some(&subject("s"))), None);
    let latest =
        registry.write(|store, at| delete_version(store, &subject("s"), VersionName::Latest, false, at));
    assert_eq!(latest, Err(40401));
    registry.delete_version("s", 1, true).unwrap();
    assert_eq!(registry.store.subjects(true).count(), 0);
}

#[test]
fn what_is_referred_to_stays() {
    let mut registry = Registry::default();
    registry.register("address", &posted(r#"{"type":"record","name":"Address","fields":[]}"#)).unwrap();
    let mut customer = record(r#"{"name":"home","type":"Address"}"#);
    let reference = Reference { name: "Address".to_owned(), subject: "address".to_owned(), version: -1 };
    assert_eq!(registry.register("customer", &customer), Err(42201));
    customer.definition.references = vec![reference.clone()];
    assert_eq!(registry.register("customer", &customer), Ok(2));
    let stored = registry.store.stored(&subject("customer"), 1).unwrap();
    assert_eq!(stored.definition.references[0].version, 1, "the latest version of then");
    assert_eq!(registry.delete("address", false), Err(42206));
    assert_eq!(registry.delete_version("address", 1, false), Err(42206));
    registry.delete("customer", false).unwrap();
    assert_eq!(registry.delete("address", false), Ok(vec![1]));
    customer.definition.references[0].version = 9;
    assert_eq!(registry.register("customer", &customer), Err(42201));
}

#[test]
fn modes_forbid_and_import() {
    let mut registry = Registry::default();
    registry.register("s", &record(A)).unwrap();
    registry.mode(None, Mode::ReadOnly, false).unwrap();
    assert_eq!(registry.register("s", &record(A)), Ok(1), "it is there already");
    assert_eq!(registry.register("s", &record(AC)), Err(42205));
    assert_eq!(registry.delete("s", false), Err(42205));
    assert_eq!(registry.level(None, Compatibility::Full), Err(42205));
    registry.mode(Some("t"), Mode::ReadWrite, false).unwrap();
    assert_eq!(registry.register("t", &record(A)), Ok(1), "the subject's mode comes first");

    assert_eq!(registry.mode(None, Mode::Import, false), Err(42205));
    assert_eq!(registry.mode(Some("t"), Mode::Import, false), Err(42205));
    assert_eq!(registry.mode(Some("new"), Mode::Import, false), Ok(Mode::Import));
    let mut imported = record(AB);
    assert_eq!(registry.register("new", &imported), Err(42205));
    (imported.id, imported.version) = (Some(1), Some(7));
    assert_eq!(registry.register("new", &imported), Err(42207));
    imported.id = Some(40);
    assert_eq!(registry.register("new", &imported), Ok(40));
    assert_eq!(registry.store.versions(&subject("new"), false), Ok(vec![7]));
    assert_eq!(registry.register("t", &imported), Err(42205));
    let removed = registry.write(|store, _| delete_mode(store, &subject("new")));
    assert_eq!(removed, Ok(Mode::Import));
    assert_eq!(registry.write(|store, _| delete_mode(store, &subject("new"))), Err(40401));
    registry.mode(None, Mode::ReadWrite, false).unwrap();
    assert_eq!(registry.register("after", &posted("\"int\"")), Ok(41));
}

#[test]
fn levels_are_set_and_taken_back() {
    let mut registry = Registry::default();
    registry.level(Some("s"), Compatibility::Full).unwrap();
    registry.level(Some("s"), Compatibility::None).unwrap();
    let removed = registry.write(|store, _| delete_compatibility(store, &subject("s")));
    assert_eq!(removed, Ok(Compatibility::None));
    assert_eq!(registry.store.compatibility(&subject("s")), Compatibility::Backward);
    assert_eq!(registry.write(|store, _| delete_compatibility(store, &subject("s"))), Err(40401));
}

#[test]
fn schemas_are_looked_up_by_what_they_say() {
    let mut registry = Registry::default();
    let look = |registry: &Registry, posted: &Registration, deleted| {
        look_up(&registry.store, &subject("s"), posted, deleted).map_err(|error| error.code.number())
    };
    assert_eq!(look(&registry, &record(A), false).unwrap_err(), 40401);
    registry.register("s", &record(A)).unwrap();
    assert_eq!(look(&registry, &record(A), false).unwrap().version, 1);
    assert_eq!(look(&registry, &record(AC), false).unwrap_err(), 40403);
    let mut normalized =
        posted(r#"{"fields":[{"type":{"type":"string"},"name":"a"}],"name":"R","type":"record"}"#);
    assert_eq!(look(&registry, &normalized, false).unwrap_err(), 40403);
    normalized.normalize = true;
    assert_eq!(look(&registry, &normalized, false).unwrap().version, 1);
    registry.delete("s", false).unwrap();
    assert_eq!(look(&registry, &record(A), false).unwrap_err(), 40401);
    assert!(look(&registry, &record(A), true).unwrap().deleted);

    let proto = |text: &str| {
        let mut posted = posted(text);
        posted.definition.schema_type = SchemaType::Protobuf;
        posted
    };
    assert_eq!(registry.register("p", &proto("message A { optional string b = 1; }")), Ok(2));
    assert_eq!(registry.register("p", &proto("message A {\n  optional string b = 1;\n}")), Ok(2));
}
