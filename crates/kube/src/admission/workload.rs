//! StatefulSets and Deployments.

use std::collections::BTreeSet;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::Checker;
use super::names::Form;
use super::{metadata, pod, storage};
use crate::source::FieldPath;

pub fn check_stateful_set(checker: &mut Checker<'_>, set: &StatefulSet) {
    metadata::check(checker, &set.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    let Some(spec) = &set.spec else { return };
    checker.at_least(&field.key("replicas"), spec.replicas.map(i64::from), 0);
    checker.one_of(
        &field.key("podManagementPolicy"),
        spec.pod_management_policy.as_deref(),
        &["OrderedReady", "Parallel"],
    );
    if let Some(service_name) = spec.service_name.as_deref().filter(|name| !name.is_empty()) {
        checker.name(&field.key("serviceName"), service_name, Form::Subdomain);
    }
    if let Some(start) = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start) {
        checker.at_least(&field.key("ordinals").key("start"), Some(i64::from(start)), 0);
    }
    check_set_strategy(checker, &field.key("updateStrategy"), spec);
    let claims = check_claim_templates(checker, &field.key("volumeClaimTemplates"), spec);
    check_template(checker, &spec.selector, &spec.template, &claims);
}

pub fn check_deployment(checker: &mut Checker<'_>, deployment: &Deployment) {
    metadata::check(checker, &deployment.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    let Some(spec) = &deployment.spec else { return };
    checker.at_least(&field.key("replicas"), spec.replicas.map(i64::from), 0);
    if let Some(strategy) = &spec.strategy {
        let field = field.key("strategy");
        checker.one_of(&field.key("type"), strategy.type_.as_deref(), &["Recreate", "RollingUpdate"]);
        if let Some(rolling) = &strategy.rolling_update {
            let field = field.key("rollingUpdate");
            if strategy.type_.as_deref() == Some("Recreate") {
                checker.reject(&field, "is set", "nothing with the type Recreate", "remove it");
            }
            check_share(checker, &field.key("maxSurge"), rolling.max_surge.as_ref(), u32::MAX);
            check_share(checker, &field.key("maxUnavailable"), rolling.max_unavailable.as_ref(), 100);
            if is_zero(rolling.max_surge.as_ref()) && is_zero(rolling.max_unavailable.as_ref()) {
                let expected = "maxSurge or maxUnavailable above 0";
                checker.reject(
                    &field.key("maxUnavailable"),
                    "is 0 while maxSurge is 0",
                    expected,
                    "raise one of them",
                );
            }
        }
    }
    check_template(checker, &spec.selector, &spec.template, &BTreeSet::new());
}

/// The number of pods, or percentage of them, that a policy names; at most `percent_max` percent.
pub fn check_share(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    share: Option<&IntOrString>,
    percent_max: u32,
) {
    match share {
        Some(IntOrString::Int(number)) => checker.at_least(field, Some(i64::from(*number)), 0),
        Some(IntOrString::String(text)) => {
            let percent = text.strip_suffix('%').and_then(|digits| digits.parse::<u32>().ok());
            if percent.is_none_or(|percent| percent > percent_max) {
                let what = format!("`{text}` is no share of the pods");
                checker.reject(field, what, "a number such as 1, or text such as 25%", "change it");
            }
        }
        None => {}
    }
}

fn is_zero(share: Option<&IntOrString>) -> bool {
    match share {
        Some(IntOrString::Int(number)) => *number == 0,
        Some(IntOrString::String(text)) => text == "0%",
        None => false,
    }
}

fn check_set_strategy(checker: &mut Checker<'_>, field: &FieldPath, spec: &StatefulSetSpec) {
    let Some(strategy) = &spec.update_strategy else { return };
    checker.one_of(&field.key("type"), strategy.type_.as_deref(), &["RollingUpdate", "OnDelete"]);
    let Some(rolling) = &strategy.rolling_update else { return };
    let field = field.key("rollingUpdate");
    if strategy.type_.as_deref() == Some("OnDelete") {
        checker.reject(&field, "is set", "nothing with the type OnDelete", "remove it");
    }
    checker.at_least(&field.key("partition"), rolling.partition.map(i64::from), 0);
    check_share(checker, &field.key("maxUnavailable"), rolling.max_unavailable.as_ref(), 100);
    if is_zero(rolling.max_unavailable.as_ref()) {
        checker.reject(&field.key("maxUnavailable"), "is 0", "at least 1", "change it, or remove it");
    }
}

/// Checks the claim templates; the names of the volumes that they make.
fn check_claim_templates<'s>(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    spec: &'s StatefulSetSpec,
) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::new();
    for (index, template) in spec.volume_claim_templates.iter().flatten().enumerate() {
        let field = field.index(index);
        let name = template.metadata.name.as_deref().unwrap_or_default();
        checker.name(&field.key("metadata").key("name"), name, Form::Label);
        if !names.insert(name) {
            let what = format!("`{name}` is the name of two claim templates");
            checker.reject(
                &field.key("metadata").key("name"),
                what,
                "a name of its own",
                "rename one of them",
            );
        }
        metadata::check_labels(checker, &field.key("metadata"), &template.metadata);
        storage::check_claim_spec(checker, &field.key("spec"), template.spec.as_ref());
    }
    names
}

/// Checks that the selector selects the template's pods, and the template itself.
fn check_template(
    checker: &mut Checker<'_>,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    claims: &BTreeSet<&str>,
) {
    let selector_field = FieldPath::from("spec.selector");
    let template_field = FieldPath::from("spec.template");
    metadata::check_selector(checker, &selector_field, selector);
    let is_empty = selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(|requirements| requirements.is_empty());
    let no_metadata = Default::default();
    let pod_metadata = template.metadata.as_ref().unwrap_or(&no_metadata);
    let labels = pod_metadata.labels.clone().unwrap_or_default();
    if is_empty {
        let expected = "labels that the pods of the template have";
        checker.reject(&selector_field, "is empty", expected, "add matchLabels");
    } else if !metadata::selects(selector, &labels) {
        checker.reject(
            &template_field.key("metadata").key("labels"),
            "the selector does not select the template's labels",
            "every label of spec.selector, with the same value",
            "make the labels of the selector and the template equal",
        );
    }
    metadata::check_labels(checker, &template_field.key("metadata"), pod_metadata);
    let field = template_field.key("spec");
    let Some(spec) = &template.spec else {
        checker.reject(&field, "is missing", "at least one container", "add the pod's spec");
        return;
    };
    if spec.restart_policy.as_deref().is_some_and(|policy| !matches!(policy, "" | "Always")) {
        let what = "is not Always";
        let expected = "Always: the controller keeps its pods running";
        checker.reject(&field.key("restartPolicy"), what, expected, "remove it");
    }
    if checker.object().kind == StatefulSet::KIND {
        checker.refuse_pods();
    }
    pod::check_spec(checker, &field, spec, claims);
}
