//! An object, its name, and where it comes from.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::Resource;
use serde::Serialize;

use crate::source::{Document, FieldPath, Location, SourceError};

/// The kind, namespace and name of an object. Displayed as `Service default/web`, or `Namespace web` for a
/// kind without namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectRef {
    /// `StatefulSet`.
    pub kind: String,
    /// `None` for a kind that is not in a namespace.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object of the API and where it was written.
#[derive(Debug, Clone)]
pub struct Object<T> {
    /// The object. `metadata.name` is set, and `metadata.namespace` is set exactly if the kind has one.
    pub value: T,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, `default` if the manifest has none; `None` for a kind without namespaces.
    pub namespace: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

impl<T: Resource> Object<T> {
    /// The object's kind, namespace and name.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef { kind: T::KIND.to_owned(), namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// The place of an object: a document, or an item of a list in it.
#[derive(Debug, Clone)]
pub struct Origin {
    document: Document,
    base: FieldPath,
}

impl Origin {
    pub(super) fn new(document: Document, base: FieldPath) -> Origin {
        Origin { document, base }
    }

    /// The document that holds the object.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The path of the object in its document: the root, or `items[3]` in a List.
    pub fn base(&self) -> &FieldPath {
        &self.base
    }

    /// Where the object starts.
    pub fn start(&self) -> Location {
        self.document.locate(&self.base)
    }

    /// Where a field of the object is written: `spec.ports[0].nodePort`. A field that is not there gives the
    /// nearest parent that is.
    pub fn locate(&self, field: impl Into<FieldPath>) -> Location {
        self.document.locate(self.base.join(&field.into()))
    }

    /// An error at a field of the object: what is wrong, and what to change.
    pub fn error(
        &self,
        field: impl Into<FieldPath>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> SourceError {
        let field = field.into();
        self.document.error(self.base.join(&field), what, help).in_field(field)
    }

    /// Where the key of a field is written, whatever its value is.
    pub(super) fn locate_key(&self, field: &FieldPath) -> Location {
        self.document.locate_key(&self.base.join(field))
    }

    pub(super) fn explain(&self, path: &FieldPath, said: &str) -> SourceError {
        self.document.explain(&self.base, path, said)
    }
}

/// A kind that is not simulated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ignored {
    /// `cert-manager.io/v1`.
    pub api_version: String,
    /// `Certificate`.
    pub kind: String,
    /// Objects of the kind.
    pub count: usize,
    /// Where the first of them is.
    pub first: Location,
}

/// The template of pods that an object of a kind that is not simulated makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodTemplate {
    /// The object, `Job namespace/name`.
    pub object: String,
    /// Its namespace.
    pub namespace: String,
    /// The labels of its pods.
    pub labels: BTreeMap<String, String>,
}

/// A Secret that cert-manager makes once it runs: it is in no manifest, and still not missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateSecret {
    /// The namespace of the Certificate and its Secret.
    pub namespace: String,
    /// The Secret's name: the Certificate's `spec.secretName`.
    pub secret: String,
    /// The Certificate's name.
    pub certificate: String,
    /// Where the name of the Secret is written.
    pub location: Location,
}

/// A field that the kind of its object does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnknownField {
    /// The object that holds it.
    pub object: ObjectRef,
    /// Its path from the root of the object, displayed: `spec.ports[0].nodeport`.
    pub field: String,
    /// Where it is written.
    pub location: Location,
    /// The field that was probably meant.
    pub suggestion: Option<String>,
}
