//! Names, labels and selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::check::Checker;
use super::names::{self, Form};
use crate::source::FieldPath;

/// Bytes that all annotations of an object may have together.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// Checks the metadata of an object whose kind wants names of `form`.
pub fn check(checker: &mut Checker<'_>, metadata: &ObjectMeta, form: Form) {
    let field = FieldPath::from("metadata");
    if let Some(name) = &metadata.name {
        checker.name(&field.key("name"), name, form);
    }
    if let Some(namespace) = &metadata.namespace {
        checker.name(&field.key("namespace"), namespace, Form::Label);
    }
    check_labels(checker, &field, metadata);
}

/// Checks the labels and annotations of the metadata at `field`.
pub fn check_labels(checker: &mut Checker<'_>, field: &FieldPath, metadata: &ObjectMeta) {
    for (key, value) in metadata.labels.iter().flatten() {
        let field = field.key("labels").key(key.as_str());
        check_key(checker, &field, key);
        if !names::is_label_value(value) {
            let what = format!("`{value}` is not a valid label value");
            let expected =
                "at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends";
            checker.reject(&field, what, expected, "change the value, or make it an annotation");
        }
    }
    let annotations = || metadata.annotations.iter().flatten();
    for (key, _) in annotations() {
        check_key(checker, &field.key("annotations").key(key.as_str()), &key.to_lowercase());
    }
    let bytes: usize = annotations().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATION_BYTES_MAX {
        let expected = format!("at most {ANNOTATION_BYTES_MAX} bytes");
        let what = format!("{bytes} bytes of annotations");
        checker.reject(&field.key("annotations"), what, expected, "move the data to a ConfigMap");
    }
}

fn check_key(checker: &mut Checker<'_>, field: &FieldPath, key: &str) {
    if !names::is_qualified_name(key) {
        let expected =
            "at most 63 letters, digits, `-`, `_` and `.`, with an optional DNS name and `/` before";
        checker.reject(field, format!("`{key}` is not a valid key"), expected, "change the key");
    }
}

/// Checks the keys and operators of a selector at `field`.
pub fn check_selector(checker: &mut Checker<'_>, field: &FieldPath, selector: &LabelSelector) {
    for (key, value) in selector.match_labels.iter().flatten() {
        let field = field.key("matchLabels").key(key.as_str());
        check_key(checker, &field, key);
        if !names::is_label_value(value) {
            let what = format!("`{value}` is not a valid label value");
            checker.reject(&field, what, "the value of a label", "change the value");
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let field = field.key("matchExpressions").index(index);
        check_key(checker, &field.key("key"), &requirement.key);
        let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
        checker.one_of(&field.key("operator"), Some(&requirement.operator), &operators);
        let has_values = requirement.values.as_ref().is_some_and(|values| !values.is_empty());
        match requirement.operator.as_str() {
            "In" | "NotIn" if !has_values => {
                checker.reject(&field.key("values"), "is empty", "at least one value", "add the values");
            }
            "Exists" | "DoesNotExist" if has_values => {
                let expected = format!("no values with {}", requirement.operator);
                checker.reject(&field.key("values"), "is set", expected, "remove the values");
            }
            _ => {}
        }
    }
}

/// Whether `selector` selects an object with these labels. An empty selector selects everything.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equals = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let value = labels.get(&requirement.key);
        let is_listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|v| v == value));
        match requirement.operator.as_str() {
            "In" => is_listed,
            "NotIn" => !is_listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equals && expressions
}
