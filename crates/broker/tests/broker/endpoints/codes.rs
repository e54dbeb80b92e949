//! Which test produces each error code of redpanda.md 3.1.2, 3.3 and 3.4. The test must exist, be one that runs, and
//! have the code in it.

const ADMIN: &[(u16, &str, &str)] = &[
    (307, "admin_redirects", "writes_are_sent_on_to_the_controller"),
    (400, "admin_partitions", "partitions_are_shown_in_every_way"),
    (401, "admin_security", "levels_are_asked_for_once_authentication_is_on"),
    (403, "admin_security", "levels_are_asked_for_once_authentication_is_on"),
    (404, "admin_partitions", "partitions_are_shown_in_every_way"),
    (429, "admin_config", "too_many_changes_per_second_are_refused"),
    (503, "admin_redirects", "without_a_majority_there_is_nobody_to_be_sent_to"),
    (504, "admin_redirects", "what_no_majority_agrees_to_in_time_is_a_time_out"),
];

const HTTP_PROXY: &[(u16, &str, &str)] = &[
    (406, "http_proxy", "bad_requests_are_refused"),
    (415, "http_proxy", "bad_requests_are_refused"),
    (422, "http_proxy", "bad_requests_are_refused"),
    (40002, "http_proxy", "what_kafka_says_becomes_a_code"),
    (40101, "http_proxy", "what_kafka_says_becomes_a_code"),
    (40301, "http_proxy", "what_kafka_says_becomes_a_code"),
    (40401, "http_proxy", "what_kafka_says_becomes_a_code"),
    (40402, "http_proxy", "bad_requests_are_refused"),
    (40403, "http_proxy", "a_consumer_lives_on_its_broker_and_its_base_uri_leads_there"),
    (40801, "http_proxy", "records_go_in_and_come_out_in_both_forms"),
    (40902, "http_proxy", "consumers_read_and_commit"),
    (50001, "http_proxy", "what_kafka_says_becomes_a_code"),
    (50002, "http_proxy", "what_kafka_says_becomes_a_code"),
    (50003, "http_proxy", "what_kafka_says_becomes_a_code"),
    (50101, "http_proxy", "bad_requests_are_refused"),
    (50302, "http_proxy", "without_brokers_none_is_available"),
];

const SCHEMA_REGISTRY: &[(u16, &str, &str)] = &[
    (409, "schema_registry", "levels_hold_and_are_explained"),
    (500, "schema_registry", "other_writers_records_are_read"),
    (40401, "schema_registry", "what_is_missing_has_its_own_code"),
    (40402, "schema_registry", "what_is_missing_has_its_own_code"),
    (40403, "schema_registry", "what_is_missing_has_its_own_code"),
    (40404, "schema_registry", "deleting_softly_and_for_good"),
    (40405, "schema_registry", "what_is_missing_has_its_own_code"),
    (40406, "schema_registry", "deleting_softly_and_for_good"),
    (40407, "schema_registry", "what_is_missing_has_its_own_code"),
    (40408, "schema_registry", "what_is_missing_has_its_own_code"),
    (40409, "schema_registry", "what_is_missing_has_its_own_code"),
    (42201, "schema_registry", "bad_schemas_and_bad_requests_are_refused"),
    (42202, "schema_registry", "what_is_missing_has_its_own_code"),
    (42203, "schema_registry", "levels_hold_and_are_explained"),
    (42204, "schema_registry", "modes_forbid_and_import"),
    (42205, "schema_registry", "modes_forbid_and_import"),
    (42206, "schema_registry", "json_and_protobuf_schemas_say_their_type"),
    (42207, "schema_registry", "modes_forbid_and_import"),
    (50001, "schema_registry", "without_a_way_to_the_topic_it_is_a_store_error"),
    (50301, "schema_registry", "who_loses_every_race_is_told_to_try_again"),
];

fn text_of(file: &str) -> &'static str {
    match file {
        "admin_config" => include_str!("../admin_config.rs"),
        "admin_partitions" => include_str!("../admin_partitions.rs"),
        "admin_redirects" => include_str!("../admin_redirects.rs"),
        "admin_security" => include_str!("../admin_security.rs"),
        "http_proxy" => include_str!("../http_proxy.rs"),
        "schema_registry" => include_str!("../schema_registry.rs"),
        _ => panic!("{file}.rs is not read here"),
    }
}

/// The text of a test that runs.
fn body(text: &'static str, test: &str) -> Option<&'static str> {
    let (_, rest) = text.split_once(&format!("#[tokio::test]\nasync fn {test}() {{"))?;
    Some(rest.split_once("\n}\n")?.0)
}

fn has_number(text: &str, code: u16) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == code.to_string())
}

#[test]
fn every_code_is_produced_by_a_test() {
    let mut wrong = Vec::new();
    for (code, file, test) in ADMIN.iter().chain(HTTP_PROXY).chain(SCHEMA_REGISTRY) {
        match body(text_of(file), test) {
            None => wrong.push(format!("{file}.rs has no test {test}")),
            Some(body) if !has_number(body, *code) => wrong.push(format!("{file}::{test} has no {code}")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The codes that the two services know are those of the tables above, and no others.
#[test]
fn every_code_of_the_services_is_in_the_tables() {
    for (name, text, table) in [
        ("http_proxy", include_str!("../../../src/http_proxy/error.rs"), HTTP_PROXY),
        ("schema_registry", include_str!("../../../src/schema_registry/error.rs"), SCHEMA_REGISTRY),
    ] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let codes = words.filter_map(|word| word.parse::<u16>().ok()).filter(|number| *number >= 40_000);
        let unknown: Vec<u16> =
            codes.filter(|code| !table.iter().any(|(known, _, _)| known == code)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?} have no test");
    }
}
