//! Objects of the cluster as scenarios and events name them: `pod demo/echo-0`, `node node-1`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `KIND NAMESPACE/NAME`, or `KIND NAME` for what has no namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName {
    /// What it is.
    pub kind: ObjectKind,
    /// Its namespace; empty if its kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $word:literal $namespaced:literal,)*) => {
        /// A kind of object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ObjectKind {
            $($(#[$doc])* $variant,)*
        }

        impl ObjectKind {
            /// Every kind.
            pub const ALL: &'static [ObjectKind] = &[$(ObjectKind::$variant),*];

            /// The word in scenarios and events.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ObjectKind::$variant => $word,)*
                }
            }

            /// Whether objects of the kind are in a namespace.
            pub fn is_namespaced(self) -> bool {
                match self {
                    $(ObjectKind::$variant => $namespaced,)*
                }
            }
        }
    };
}

kinds! {
    /// A pod.
    Pod "pod" true,
    /// A container of a pod, `NAMESPACE/POD/CONTAINER`.
    Container "container" true,
    /// A node.
    Node "node" false,
    /// A Service.
    Service "service" true,
    /// A StatefulSet.
    StatefulSet "statefulSet" true,
    /// A Deployment.
    Deployment "deployment" true,
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim "persistentVolumeClaim" true,
    /// A Secret.
    Secret "secret" true,
}

impl ObjectName {
    /// An object of a namespace.
    pub fn new(kind: ObjectKind, namespace: &str, name: &str) -> ObjectName {
        ObjectName { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Whether an event's object, as the event log writes it, is this one. Capitals do not matter.
    pub fn is(&self, logged: &str) -> bool {
        self.to_string().eq_ignore_ascii_case(logged)
    }
}

impl FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = || ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
        let error = |why: String| Err(format!("`{text}` names no object: {why}"));
        let Some((word, name)) = text.split_once(' ') else {
            return error(format!("expected KIND NAMESPACE/NAME or KIND NAME with a kind of {}", kinds()));
        };
        let kind = ObjectKind::ALL.iter().copied().find(|kind| kind.as_str().eq_ignore_ascii_case(word));
        let Some(kind) = kind else {
            return error(format!("`{word}` is no kind; expected one of {}", kinds()));
        };
        let (namespace, name) =
            if kind.is_namespaced() { name.split_once('/').unwrap_or(("", name)) } else { ("", name) };
        let is_word = |text: &str| !text.is_empty() && !text.contains(['/', ' ']);
        let is_name = match name.split_once('/').filter(|_| kind == ObjectKind::Container) {
            Some((pod, container)) => is_word(pod) && is_word(container),
            None => is_word(name) && kind != ObjectKind::Container,
        };
        if !is_name || kind.is_namespaced() != is_word(namespace) {
            let form = match kind {
                ObjectKind::Container => "NAMESPACE/POD/CONTAINER",
                kind if kind.is_namespaced() => "NAMESPACE/NAME",
                _ => "NAME",
            };
            return error(format!("expected `{} {form}`", kind.as_str()));
        }
        Ok(ObjectName::new(kind, namespace, name))
    }
}

impl TryFrom<String> for ObjectName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ObjectName> for String {
    fn from(object: ObjectName) -> String {
        object.to_string()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.as_str(), self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_written_as_they_are_read() {
        for text in [
            "pod demo/echo-0",
            "node node-1",
            "container demo/echo-0/echo",
            "persistentVolumeClaim demo/data-echo-0",
        ] {
            assert_eq!(text.parse::<ObjectName>().expect(text).to_string(), text);
        }
        let object: ObjectName = "StatefulSet demo/echo".parse().expect("capitals do not matter");
        assert!(object.is("statefulset demo/echo") && !object.is("statefulset demo/echo-2"));
    }

    #[test]
    fn what_names_no_object_says_what_is_expected() {
        for (text, words) in [
            ("echo-0", "expected KIND NAMESPACE/NAME"),
            ("pot demo/echo-0", "`pot` is no kind; expected one of pod, container"),
            ("pod echo-0", "expected `pod NAMESPACE/NAME`"),
            ("node demo/node-1", "expected `node NAME`"),
            ("container demo/echo-0", "expected `container NAMESPACE/POD/CONTAINER`"),
            ("pod demo/", "expected `pod NAMESPACE/NAME`"),
        ] {
            let error = text.parse::<ObjectName>().expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
