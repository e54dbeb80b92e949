//! What a fault waits for: an event, or another fault.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::run::Event;
use crate::scenario::{Duration, ObjectName};

/// What a fault waits for, in the words of expected events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "TriggerFields", into = "TriggerFields")]
pub struct Trigger {
    /// The fault, further up in the file, after which the event has to come; the timeline's start if absent.
    pub after: Option<String>,
    /// The event; `after` alone counts if absent.
    pub event: Option<TriggerEvent>,
}

/// The event that a fault waits for: the first that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerEvent {
    /// The kind, e.g. `pod.ready`.
    pub kind: String,
    /// What it happens to; anything if absent.
    pub object: Option<ObjectName>,
    /// What its details have to contain.
    pub detail: Option<String>,
    /// When it has to come; at any time until the end if absent.
    pub within: Option<[Duration; 2]>,
}

/// A trigger as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct TriggerFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<[Duration; 2]>,
}

impl TriggerEvent {
    /// Whether an event is of the kind, of the object, and with the details that are waited for.
    pub fn fits(&self, event: &Event) -> bool {
        self.kind == event.kind
            && self.object.as_ref().is_none_or(|object| object.is(&event.object))
            && self.detail.as_ref().is_none_or(|detail| event.detail.contains(detail))
    }
}

impl TryFrom<TriggerFields> for Trigger {
    type Error = String;

    fn try_from(fields: TriggerFields) -> Result<Self, String> {
        let TriggerFields { after, event, object, detail, within } = fields;
        let Some(kind) = event else {
            if object.is_some() || detail.is_some() || within.is_some() {
                return Err(
                    "`object`, `detail` and `within` go with `event`, such as `event: pod.ready`".to_owned()
                );
            }
            if after.is_none() {
                return Err(
                    "`when` needs an `event`, such as `pod.ready`, or `after` with a fault's name".to_owned()
                );
            }
            return Ok(Trigger { after, event: None });
        };
        if let Some([from, to]) = within
            && from > to
        {
            return Err(format!("the window from {from} to {to} ends before it begins"));
        }
        Ok(Trigger { after, event: Some(TriggerEvent { kind, object, detail, within }) })
    }
}

impl From<Trigger> for TriggerFields {
    fn from(trigger: Trigger) -> TriggerFields {
        let Trigger { after, event } = trigger;
        match event {
            None => TriggerFields { after, ..TriggerFields::default() },
            Some(TriggerEvent { kind, object, detail, within }) => {
                TriggerFields { after, event: Some(kind), object, detail, within }
            }
        }
    }
}
