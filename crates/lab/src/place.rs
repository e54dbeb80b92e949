//! Where a client stands, in the words of the command line.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// On the internet, at an address that is chosen, or at the one given.
    External(Option<IpAddr>),
    /// In a pod of the manifests.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
    },
    /// A process on a node, in the node's network namespace.
    Node(String),
    /// In a client pod that is added to the cluster.
    InCluster,
}

/// The text names no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no place; expected `external`, `external=IP`, `pod/NAMESPACE/NAME`, `node/NAME` or `in-cluster`"
)]
pub struct PlaceError(String);

impl Place {
    /// Whether the client stands outside the cluster's own network.
    pub fn is_external(&self) -> bool {
        matches!(self, Place::External(_))
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let error = || PlaceError(text.to_owned());
        match text {
            "external" => return Ok(Place::External(None)),
            "in-cluster" => return Ok(Place::InCluster),
            _ => {}
        }
        if let Some(address) = text.strip_prefix("external=") {
            return address.parse().map(|address| Place::External(Some(address))).map_err(|_| error());
        }
        if let Some(name) = text.strip_prefix("node/").filter(|name| is_name(name)) {
            return Ok(Place::Node(name.to_owned()));
        }
        match text.strip_prefix("pod/").and_then(|pod| pod.split_once('/')) {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Place::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::External(None) => f.write_str("external"),
            Place::External(Some(address)) => write!(f, "external={address}"),
            Place::Pod { namespace, name } => write!(f, "pod/{namespace}/{name}"),
            Place::Node(name) => write!(f, "node/{name}"),
            Place::InCluster => f.write_str("in-cluster"),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;
    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_alike() {
        for text in
            ["external", "external=203.0.113.7", "pod/redpanda/redpanda-0", "node/node-1", "in-cluster"]
        {
            assert_eq!(text.parse::<Place>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms_there_are() {
        for text in
            ["", "outside", "external=node-1", "pod/redpanda-0", "pod//redpanda-0", "node/", "pod/a/b/c"]
        {
            let error = text.parse::<Place>().expect_err(text);
            assert!(error.to_string().contains("`pod/NAMESPACE/NAME`"));
        }
    }
}
