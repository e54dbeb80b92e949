//! Documents to objects.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::{ByteString, Metadata};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Manifests;
use super::cert_manager;
use super::decode::{self, DecodeError, Unknown};
use super::kind::{Kind, Meaning, meaning};
use super::object::{CertificateSecret, Ignored, Object, ObjectRef, Origin, PodTemplate, UnknownField};
use crate::source::{
    self, Data, FieldPath, LoadErrors, Location, Node, Segment, Source, SourceError, nearest,
};

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// See [`Manifests::load`].
pub fn load(sources: &[Source]) -> Result<Manifests, LoadErrors> {
    let mut loader = Loader::default();
    for source in sources {
        let (documents, errors) = source::read(source);
        loader.errors.extend(errors);
        for document in documents {
            let origin = Origin::new(document.clone(), FieldPath::root());
            loader.node(&origin, document.root(), None);
        }
    }
    if loader.objects == 0 && loader.errors.is_empty() {
        loader.errors.extend(sources.first().map(no_objects));
    }
    loader.manifests.ignored = loader.ignored.into_values().collect();
    LoadErrors::check(loader.errors)?;
    Ok(loader.manifests)
}

/// The apiVersion and kind of a list's items, which typed lists do not repeat.
#[derive(Clone)]
struct ItemType {
    api_version: String,
    kind: String,
}

#[derive(Default)]
struct Loader {
    manifests: Manifests,
    ignored: BTreeMap<(String, String), Ignored>,
    /// Where each object was first seen.
    seen: BTreeMap<ObjectRef, Location>,
    errors: Vec<SourceError>,
    /// Objects met so far, kept or not.
    objects: usize,
}

impl Loader {
    /// Takes the object, or the list of objects, that `node` is.
    fn node(&mut self, origin: &Origin, node: &Node, item_type: Option<&ItemType>) {
        if !matches!(node.data, Data::Map(_)) {
            let what = format!("expected an object (a mapping), got {}", node.in_words());
            self.errors.push(origin.error("", what, "write apiVersion, kind, metadata and spec as keys"));
            return;
        }
        let api_version =
            self.type_field(origin, node, "apiVersion", item_type.map(|item| &item.api_version));
        let kind = self.type_field(origin, node, "kind", item_type.map(|item| &item.kind));
        let (Some(api_version), Some(kind)) = (api_version, kind) else { return };
        match (kind.strip_suffix("List"), node.get("items").map(|items| &items.data)) {
            (Some(item_kind), Some(Data::List(items))) => {
                let item_type =
                    (!item_kind.is_empty()).then(|| ItemType { api_version, kind: item_kind.to_owned() });
                for (index, item) in items.iter().enumerate() {
                    let base = origin.base().key("items").index(index);
                    let origin = Origin::new(origin.document().clone(), base);
                    self.node(&origin, item, item_type.as_ref());
                }
            }
            (Some(_), Some(Data::Null)) => {}
            (Some(""), None) => {}
            (Some(_), Some(_)) => {
                self.errors.push(origin.error("items", "expected a list", "start each object with `- `"));
            }
            (_, None) | (None, _) => self.object(origin, node, api_version, kind),
        }
    }

    /// The text of `apiVersion` or `kind`.
    fn type_field(
        &mut self,
        origin: &Origin,
        node: &Node,
        field: &'static str,
        of_list: Option<&String>,
    ) -> Option<String> {
        let (what, help) = match (node.get(field).filter(|value| !value.is_null()), of_list) {
            (None, Some(of_list)) => return Some(of_list.clone()),
            (None, None) => {
                let help = match field {
                    "kind" => "add the kind, for example kind: Service",
                    _ => "add the apiVersion, for example apiVersion: v1",
                };
                (format!("missing field `{field}`"), help)
            }
            (Some(value), _) => match value.as_text() {
                Some(text) if !text.is_empty() => return Some(text.to_owned()),
                _ => (format!("expected text, got {}", value.in_words()), "write the name as text"),
            },
        };
        self.errors.push(origin.error(field, what, help));
        None
    }

    fn object(&mut self, origin: &Origin, node: &Node, api_version: String, kind: String) {
        self.objects += 1;
        match meaning(&api_version, &kind) {
            Meaning::Ignored => self.ignore(origin, node, api_version, kind),
            Meaning::Wrong { field, what, help } => self.errors.push(origin.error(field, what, help)),
            Meaning::Kept(kept) => {
                let mut value = node.to_value();
                decode::drop_nulls(&mut value);
                // Items of typed lists have neither, and the types of the API check them.
                value["apiVersion"] = Value::String(api_version);
                value["kind"] = Value::String(kind);
                self.keep(kept, origin, &value);
            }
        }
    }

    /// Decodes an object and files it under its kind. What does not decode is in `errors` afterwards.
    fn keep(&mut self, kind: Kind, origin: &Origin, value: &Value) {
        macro_rules! file {
            ($list:ident) => {
                if let Some(object) = self.decode(kind, origin, value) {
                    self.manifests.$list.push(object);
                }
            };
        }
        match kind {
            Kind::Pod => file!(pods),
            Kind::StatefulSet => file!(stateful_sets),
            Kind::Deployment => file!(deployments),
            Kind::ConfigMap => file!(config_maps),
            Kind::PersistentVolumeClaim => file!(persistent_volume_claims),
            Kind::PersistentVolume => file!(persistent_volumes),
            Kind::StorageClass => file!(storage_classes),
            Kind::Namespace => file!(namespaces),
            Kind::PodDisruptionBudget => file!(pod_disruption_budgets),
            Kind::NetworkPolicy => file!(network_policies),
            Kind::EndpointSlice => file!(endpoint_slices),
            Kind::Endpoints => file!(endpoints),
            Kind::Service => {
                if let Some(mut object) = self.decode::<Service>(kind, origin, value) {
                    default_target_ports(&mut object.value);
                    self.manifests.services.push(object);
                }
            }
            Kind::Secret => {
                if let Some(mut object) = self.decode::<Secret>(kind, origin, value) {
                    merge_string_data(&mut object.value);
                    self.manifests.secrets.push(object);
                }
            }
        }
    }

    fn decode<T>(&mut self, kind: Kind, origin: &Origin, value: &Value) -> Option<Object<T>>
    where
        T: Metadata<Ty = ObjectMeta> + DeserializeOwned,
    {
        let mut unknown = Vec::new();
        let mut decoded: T = match decode::decode(value, &mut unknown) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.errors.push(decode_error(kind, origin, value, &error));
                return None;
            }
        };
        let metadata = decoded.metadata_mut();
        let Some(name) = metadata.name.clone().filter(|name| !name.is_empty()) else {
            let what = format!("missing field `name` of a {}", T::KIND);
            let help = "give the object a name; generateName is for kubectl create, not for objects that \
                        others refer to";
            self.errors.push(origin.error("metadata.name", what, help));
            return None;
        };
        metadata.namespace = kind.is_namespaced().then(|| {
            let given = metadata.namespace.take().filter(|namespace| !namespace.is_empty());
            given.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
        });
        let namespace = metadata.namespace.clone();
        let object = Object { value: decoded, name, namespace, origin: origin.clone() };
        self.note_unknown(&object.reference(), origin, unknown);
        self.note_duplicate(object.reference(), origin).then_some(object)
    }

    fn note_unknown(&mut self, object: &ObjectRef, origin: &Origin, unknown: Vec<Unknown>) {
        for Unknown { path, known } in unknown {
            let Some(Segment::Key(key)) = path.segments().last() else { continue };
            let suggestion = nearest(key, known.iter().copied()).map(str::to_owned);
            let location = origin.locate_key(&path);
            let field = path.to_string();
            self.manifests.unknown_fields.push(UnknownField {
                object: object.clone(),
                field,
                location,
                suggestion,
            });
        }
    }

    /// Remembers the object; false, with an error, if there is one of its kind, namespace and name already.
    fn note_duplicate(&mut self, object: ObjectRef, origin: &Origin) -> bool {
        let Some(first) = self.seen.get(&object) else {
            self.seen.insert(object, origin.locate("metadata.name"));
            return true;
        };
        let what = format!("{object} is already defined at {first}");
        let help = "remove one of the two, or give it another name or namespace";
        self.errors.push(origin.error("metadata.name", what, help));
        false
    }

    fn ignore(&mut self, origin: &Origin, node: &Node, api_version: String, kind: String) {
        let is_certificate = kind == "Certificate" && api_version.starts_with("cert-manager.io/");
        if is_certificate && let Some(secret) = certificate_secret(origin, node) {
            self.manifests.secrets_made_by_certificates.push(secret);
        }
        if api_version.starts_with("cert-manager.io/") {
            match cert_manager::take(origin, node, &kind, &mut self.manifests) {
                Ok(true) => return,
                Ok(false) => {}
                Err(what) => {
                    let help = "see the API reference of cert-manager.io/v1";
                    self.errors.push(origin.error("", format!("this is no {kind}: {what}"), help));
                    return;
                }
            }
        }
        self.manifests.ignored_pod_templates.extend(pod_template(node, &kind));
        let key = (api_version.clone(), kind.clone());
        let first = || Ignored { api_version, kind, count: 0, first: origin.start() };
        self.ignored.entry(key).or_insert_with(first).count += 1;
    }
}

/// The template of the pods that an object makes, wherever its kind has it: Jobs and DaemonSets below `spec`, CronJobs
/// below the Jobs that they make.
fn pod_template(node: &Node, kind: &str) -> Option<PodTemplate> {
    let object = node.to_value();
    let template = [&object["spec"]["template"], &object["spec"]["jobTemplate"]["spec"]["template"]];
    let labels = template.iter().find_map(|template| template["metadata"]["labels"].as_object())?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let namespace = text(&object["metadata"]["namespace"]).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let name = text(&object["metadata"]["name"])?;
    let labels = labels.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(PodTemplate { object: format!("{kind} {namespace}/{name}"), namespace, labels: labels.collect() })
}

/// The error for input that holds documents of no object at all.
fn no_objects(first: &Source) -> SourceError {
    let what = "expected at least one object, got none in all of the input";
    SourceError::at_start(
        first,
        what,
        "give the manifests of the cluster; empty documents and comments do not count",
    )
}

/// The error for a value that does not decode.
fn decode_error(kind: Kind, origin: &Origin, value: &Value, error: &DecodeError) -> SourceError {
    let is_secret_value = kind == Kind::Secret
        && matches!(error.path.segments(), [Segment::Key(data), Segment::Key(_)] if data == "data");
    let explained = if is_secret_value && !error.said.starts_with("invalid type") {
        let help = "encode the value, or write it as plain text under stringData";
        origin.error(&error.path, "expected base64, got text that is not", help)
    } else {
        origin.explain(&error.path, &error.said)
    };
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    match (text("/kind"), text("/metadata/name")) {
        (Some(kind_name), Some(name)) => {
            let namespace = text("/metadata/namespace").unwrap_or(DEFAULT_NAMESPACE).to_owned();
            let namespace = kind.is_namespaced().then_some(namespace);
            let object = ObjectRef { kind: kind_name.to_owned(), namespace, name: name.to_owned() };
            explained.in_object(object.to_string())
        }
        (Some(kind_name), None) => explained.in_object(kind_name),
        (None, _) => explained,
    }
}

/// Gives each port that has no `targetPort` that of `port`. Charts render an unset one as 0 or as empty text.
///
/// Source: Kubernetes Service documentation, "by default the targetPort is set to the same value as the port
/// field"; redpanda.md 0.2.
fn default_target_ports(service: &mut Service) {
    let ports = service.spec.as_mut().and_then(|spec| spec.ports.as_mut());
    for port in ports.into_iter().flatten() {
        let is_unset = match &port.target_port {
            None | Some(IntOrString::Int(0)) => true,
            Some(IntOrString::String(name)) => name.is_empty(),
            Some(IntOrString::Int(_)) => false,
        };
        if is_unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
}

/// Moves `stringData` into `data`, over the keys that are there.
///
/// Source: Kubernetes Secret documentation, "stringData ... merged into the data field", taking precedence.
fn merge_string_data(secret: &mut Secret) {
    if let Some(texts) = secret.string_data.take() {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
}

/// The Secret that a cert-manager Certificate asks for.
fn certificate_secret(origin: &Origin, node: &Node) -> Option<CertificateSecret> {
    let text = |path: &str| node.at(&FieldPath::from(path)).and_then(Node::as_text).map(str::to_owned);
    Some(CertificateSecret {
        namespace: text("metadata.namespace").unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        secret: text("spec.secretName")?,
        certificate: text("metadata.name").unwrap_or_default(),
        location: origin.locate("spec.secretName"),
    })
}
