//! YAML trees with some nodes changed: deleted, of another type, twice, or in another order.

use proptest::prelude::*;
use serde_json::{Value, json};

/// What is done to one node of a tree.
#[derive(Clone, Debug)]
pub enum Change {
    /// It goes.
    Delete,
    /// Something else stands there.
    Retype(Value),
    /// It is there twice; a key, with a letter more.
    Duplicate,
    /// It changes places with its neighbour, or goes to the end.
    Reorder,
}

impl Change {
    /// Any.
    pub fn any() -> impl Strategy<Value = Change> {
        let values = [
            Value::Null,
            json!(true),
            json!(0),
            json!(-1),
            json!(2),
            json!(1e300),
            json!(u64::MAX),
            json!(""),
            json!("node-1"),
            json!("Ü*:{"),
            json!([]),
            json!([null]),
            json!({}),
            json!({"": {"x": [1]}}),
        ];
        prop_oneof![
            Just(Change::Delete),
            prop::sample::select(values.to_vec()).prop_map(Change::Retype),
            Just(Change::Duplicate),
            Just(Change::Reorder),
        ]
    }
}

/// How many nodes a tree has below its root.
pub fn size(tree: &Value) -> usize {
    match tree {
        Value::Array(elements) => elements.iter().map(|element| 1 + size(element)).sum(),
        Value::Object(fields) => fields.values().map(|field| 1 + size(field)).sum(),
        _ => 0,
    }
}

/// Applies `change` to the node with the number `at`, in the order of a walk; to none if there are fewer.
pub fn apply(tree: &mut Value, at: usize, change: &Change) {
    let mut left = at;
    walk(tree, &mut left, change);
}

/// Whether the node was below `tree`.
fn walk(tree: &mut Value, left: &mut usize, change: &Change) -> bool {
    match tree {
        Value::Array(elements) => {
            for index in 0..elements.len() {
                if *left == 0 {
                    change_element(elements, index, change);
                    return true;
                }
                *left -= 1;
                if walk(&mut elements[index], left, change) {
                    return true;
                }
            }
            false
        }
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            for key in keys {
                if *left == 0 {
                    change_field(fields, key, change);
                    return true;
                }
                *left -= 1;
                if walk(&mut fields[&key], left, change) {
                    return true;
                }
            }
            false
        }
        _ => false,
    }
}

fn change_element(elements: &mut Vec<Value>, index: usize, change: &Change) {
    match change {
        Change::Delete => drop(elements.remove(index)),
        Change::Retype(value) => elements[index] = value.clone(),
        Change::Duplicate => elements.insert(index, elements[index].clone()),
        Change::Reorder => {
            let other = (index + 1) % elements.len();
            elements.swap(index, other);
        }
    }
}

fn change_field(fields: &mut serde_json::Map<String, Value>, key: String, change: &Change) {
    match change {
        Change::Delete => drop(fields.shift_remove(&key)),
        Change::Retype(value) => fields[&key] = value.clone(),
        Change::Duplicate => {
            let value = fields[&key].clone();
            fields.insert(format!("{key}x"), value);
        }
        Change::Reorder => {
            let value = fields.shift_remove(&key).unwrap_or_default();
            fields.insert(key, value);
        }
    }
}
