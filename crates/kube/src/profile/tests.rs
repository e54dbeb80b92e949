use std::collections::BTreeMap;

use hopwise_engine::Span;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn overridden(path: &str, value: Value) -> Result<Profile, OverrideError> {
    let aws = Profile::named("aws").expect("embedded");
    aws.with_overrides(&BTreeMap::from([(path.to_owned(), value)]))
}

#[test]
fn every_embedded_profile_parses_and_is_called_by_its_name() {
    for name in NAMES {
        assert_eq!(Profile::named(name).expect(name).name, name);
    }
}

#[test]
fn only_clouds_manage_load_balancers() {
    let managed: Vec<_> = NAMES
        .into_iter()
        .filter(|name| Profile::named(name).is_ok_and(|profile| profile.load_balancer.managed.value))
        .collect();
    assert_eq!(managed, ["aws", "gcp", "azure"]);
}

#[test]
fn an_unknown_name_lists_the_names_there_are() {
    let error = Profile::named("aws2").expect_err("no such profile");
    assert_eq!(error.to_string(), "there is no profile `aws2`; the profiles are bare-metal, aws, gcp, azure");
}

#[test]
fn delays_are_whole_nanoseconds_with_their_source() {
    let latency = Profile::named("aws").expect("embedded").latency;
    assert_eq!(latency.pod_to_node.mean(), Span::from_nanos(7_500));
    assert_eq!(latency.pod_to_node.spread(), Span::ZERO);
    assert_eq!(latency.zone_to_zone.mean(), Span::from_micros(430));
    assert_eq!(latency.zone_to_zone.spread(), Span::from_micros(150));
    insta::assert_snapshot!(
        latency.zone_to_zone.citation(),
        @"github.com/richardimaoka/aws-ping, us-east-1 (2019): round trips between zones of 0.66 to 1.26 ms, less 0.1 ms within the zones, halved"
    );
}

#[test]
fn a_scalar_replaces_the_value_and_its_origin() {
    let changed = overridden("latency.zoneToZone", json!(800)).expect("a delay");
    assert_eq!(changed.latency.zone_to_zone.mean(), Span::from_micros(800));
    assert_eq!(changed.latency.zone_to_zone.citation(), "set in the cluster file");
    let changed = overridden("loadBalancer.healthCheck.intervalS.value", json!(10)).expect("an interval");
    assert_eq!(changed.load_balancer.health_check.interval_s.value, 10);
}

#[test]
fn an_absent_price_can_be_given() {
    let bare = Profile::named("bare-metal").expect("embedded");
    let prices = BTreeMap::from([("prices.egressUsdPerGigabyte".to_owned(), json!(0.01))]);
    let priced = bare.with_overrides(&prices).expect("a price");
    assert_eq!(priced.prices.egress_usd_per_gigabyte.map(|price| price.value), Some(0.01));
}

#[test]
fn an_unknown_path_says_what_there_is() {
    let error = overridden("latency.zonetozone", json!(1)).expect_err("no such path");
    insta::assert_snapshot!(
        error.to_string(),
        @"the profile has no `latency.zonetozone`; `latency` has podToNode, nodeToZone, zoneToZone, edgeToZone, clientToEdge, loadBalancerAdded"
    );
    let error = overridden("latencies", json!(1)).expect_err("no such path");
    insta::assert_snapshot!(
        error.to_string(),
        @"the profile has no `latencies`; it has name, about, latency, loadBalancer, storage, prices"
    );
}

#[test]
fn a_value_of_the_wrong_type_or_range_is_refused() {
    let error = overridden("loadBalancer.kind", json!("vip")).expect_err("not a kind");
    insta::assert_snapshot!(error.to_string(), @r#"`loadBalancer.kind` cannot be "vip": unknown variant `vip`, expected one of `nat`, `proxy`, `dsr`"#);
    let error = overridden("latency.podToNode", json!(-1)).expect_err("negative");
    insta::assert_snapshot!(error.to_string(), @"`latency.podToNode` cannot be -1: a delay of zero or more is expected, found -1");
    let error = overridden("loadBalancer.healthCheck.intervalS", json!(0)).expect_err("zero");
    insta::assert_snapshot!(error.to_string(), @"`loadBalancer.healthCheck.intervalS` cannot be 0: a number of at least 1 is expected, found 0");
}

#[test]
fn a_number_without_an_origin_is_refused() {
    let text =
        include_str!("../../profiles/aws.yaml").replace("source: rikkisnah.github.io", "date: \"2024\"");
    let error = Profile::parse(&text).expect_err("no origin");
    insta::assert_snapshot!(
        error.to_string(),
        @"latency.loadBalancerAdded: `source`, or `assumed: true` with a `note`, is expected, found neither"
    );
}

#[test]
fn an_unknown_field_is_refused_with_its_line() {
    let text = include_str!("../../profiles/aws.yaml").replace("podToNode:", "podToHost:");
    let Err(ProfileError::Syntax { message }) = Profile::parse(&text) else {
        panic!("an unknown field parsed")
    };
    assert!(message.contains("podToHost") && message.contains("line 7"), "{message}");
}

#[test]
fn a_kind_that_cannot_deliver_as_asked_is_refused() {
    let error = overridden("loadBalancer.delivery", json!("virtual-ip")).expect_err("kind nat");
    insta::assert_snapshot!(error.to_string(), @r#"`loadBalancer.delivery` cannot be "virtual-ip": `node-port` or `pod` is expected: only kind dsr leaves the destination as it is"#);
    let pods = overridden("loadBalancer.delivery", json!("pod")).expect("pods are targets");
    assert_eq!(pods.load_balancer.delivery.value, Delivery::Pod);
}

#[test]
fn figures_of_the_local_policy_may_be_left_out_or_given() {
    let check = |name: &str| Profile::named(name).expect("embedded").load_balancer.health_check;
    assert_eq!(check("aws").local.interval_s.map(|it| it.value), Some(10));
    assert_eq!(check("azure").local, LocalCheck::default());
    let azure = Profile::named("azure").expect("embedded");
    let changed = BTreeMap::from([("loadBalancer.healthCheck.local.intervalS".to_owned(), json!(7))]);
    let local = azure.with_overrides(&changed).expect("a number").load_balancer.health_check.local;
    assert_eq!(local.interval_s.map(|it| it.value), Some(7));
    let zero = BTreeMap::from([("loadBalancer.healthCheck.local.intervalS".to_owned(), json!(0))]);
    assert!(azure.with_overrides(&zero).is_err());
}

proptest! {
    /// Whatever a cluster file overrides, the result is a sound profile or an error that names the path.
    #[test]
    fn an_override_gives_a_sound_profile_or_an_error(
        path in prop_oneof![
            "[a-z.]{0,20}",
            prop::sample::select(vec![
                "latency.zoneToZone", "latency.zoneToZone.unit", "latency.zoneToZone.spread", "latency", "name",
                "loadBalancer.kind", "loadBalancer.healthCheck", "loadBalancer.idleTimeoutS.value",
                "prices.egressUsdPerGigabyte", "prices.loadBalancer.capacityUnit.gigabytesPerHour", "prices",
            ]).prop_map(str::to_owned),
        ],
        value in prop_oneof![
            any::<f64>().prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null),
            Just(json!({})), Just(json!([1])), "[a-z]{0,5}".prop_map(Value::from),
        ],
    ) {
        match overridden(&path, value) {
            Ok(profile) => prop_assert_eq!(profile.validate(), Ok(())),
            Err(error) => prop_assert!(error.to_string().contains(&path)),
        }
    }
}
