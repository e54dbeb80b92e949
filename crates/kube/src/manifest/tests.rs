//! Manifests that load, and input that does not.

use insta::assert_snapshot;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{IssuerKind, Manifests};
use crate::source::Source;

fn load(text: &str) -> Manifests {
    Manifests::load(&[Source::new("web.yaml", text)])
        .unwrap_or_else(|errors| panic!("{:#?}", errors.errors()))
}

/// Each error of `text` on a line of its own.
fn errors(text: &str) -> String {
    let errors = Manifests::load(&[Source::new("web.yaml", text)]).expect_err("an error");
    let lines = errors.errors().iter().map(|error| format!("{error} ({})", error.fix()));
    lines.collect::<Vec<_>>().join("\n")
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
  creationTimestamp: null
spec:
  clusterIP: null
  selector: {app: web}
  ports:
    - {name: a, port: 80, targetPort: 0}
    - {name: b, port: 81, targetPort: \"\"}
    - {name: c, port: 82}
    - {name: d, port: 83, targetPort: http}
    - {name: e, port: 84, targetPort: 8080}
";

#[test]
fn an_unset_target_port_is_the_port() {
    let manifests = load(SERVICE);
    let service = &manifests.services[0];
    assert_eq!(service.reference().to_string(), "Service default/web");
    assert_eq!(service.value.metadata.namespace.as_deref(), Some("default"));
    let spec = service.value.spec.as_ref().expect("a spec");
    let targets: Vec<_> = spec.ports.iter().flatten().filter_map(|port| port.target_port.clone()).collect();
    let number = IntOrString::Int;
    let name = IntOrString::String("http".to_owned());
    assert_eq!(targets, [number(80), number(81), number(82), name, number(8080)]);
    assert_eq!(spec.cluster_ip, None);
    assert_eq!(service.origin.locate("spec.ports[3].targetPort").to_string(), "web.yaml:13:39");
}

#[test]
fn null_fields_are_absent_at_every_level() {
    let manifests = load(
        "apiVersion: v1
kind: Pod
metadata: {name: web, annotations: null, labels: {a: null, b: '5'}}
spec:
  tolerations: null
  containers:
    - name: web
      image: web:1
      resources: {limits: {cpu: 1, memory: 1.5Gi}}
      env:
        - name: NODE
          valueFrom: {configMapKeyRef: null, fieldRef: {fieldPath: spec.nodeName}}
",
    );
    let pod = &manifests.pods[0].value;
    assert_eq!(pod.metadata.labels.as_ref().map(|labels| labels.len()), Some(1));
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let limits =
        container.resources.as_ref().and_then(|resources| resources.limits.as_ref()).expect("limits");
    assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("1", "1.5Gi"));
    let from = container.env.as_ref().and_then(|env| env[0].value_from.as_ref()).expect("a source");
    assert!(from.config_map_key_ref.is_none() && from.field_ref.is_some());
}

#[test]
fn lists_are_flattened() {
    let manifests = load(
        "apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Namespace, metadata: {name: shop, namespace: x}}
  - apiVersion: v1
    kind: ServiceList
    items:
      - metadata: {name: web, namespace: shop}
        spec: {clusterIP: None}
---
apiVersion: v1
kind: ConfigMapList
items: null
",
    );
    assert_eq!(manifests.namespaces[0].reference().to_string(), "Namespace shop");
    let service = &manifests.services[0];
    assert_eq!(service.reference().to_string(), "Service shop/web");
    assert_eq!(service.origin.base().to_string(), "items[1].items[0]");
    assert_eq!(service.origin.locate("spec.clusterIP").to_string(), "web.yaml:9:27");
}

#[test]
fn secrets_hold_bytes() {
    let manifests = load(
        "apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {a: aGVsbG8=, b: eA==}
stringData: {b: plain}
",
    );
    let data = manifests.secrets[0].value.data.as_ref().expect("data");
    assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (b"hello".as_slice(), b"plain".as_slice()));
}

#[test]
fn the_pods_of_other_kinds_are_known_by_their_labels() {
    let manifests = load(
        "apiVersion: batch/v1
kind: Job
metadata: {name: setup, namespace: shop}
spec: {template: {metadata: {labels: {app: web}}, spec: {}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: web}}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bare}
spec: {template: {spec: {}}}
",
    );
    let templates = manifests.ignored_pod_templates.iter();
    let told: Vec<_> = templates.map(|it| (it.object.as_str(), it.labels["app"].as_str())).collect();
    assert_eq!(told, [("Job shop/setup", "web"), ("CronJob default/nightly", "web")]);
}

#[test]
fn other_kinds_are_counted() {
    let manifests = load(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: b}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: shop}
spec: {secretName: web-cert}
",
    );
    let ignored: Vec<_> = manifests
        .ignored
        .iter()
        .map(|ignored| {
            format!("{}/{} {} {}", ignored.api_version, ignored.kind, ignored.count, ignored.first)
        })
        .collect();
    assert_eq!(ignored, ["v1/ServiceAccount 2 web.yaml:1:1"]);
    let secret = &manifests.secrets_made_by_certificates[0];
    assert_eq!((secret.namespace.as_str(), secret.secret.as_str()), ("shop", "web-cert"));
    assert_eq!(secret.location.to_string(), "web.yaml:8:20");
}

#[test]
fn certificates_and_issuers_are_read() {
    let manifests = load(
        "apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: shop}
spec:
  secretName: web-cert
  commonName: web
  dnsNames: [web.shop.svc, '*.web.shop.svc']
  ipAddresses: [10.0.0.1]
  duration: 24h
  usages: [server auth]
  issuerRef: {name: ca, kind: ClusterIssuer, group: cert-manager.io}
---
{apiVersion: cert-manager.io/v1, kind: ClusterIssuer, metadata: {name: ca}, spec: {ca: {secretName: root}}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: own}, spec: {selfSigned: {}}}
---
{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: acme}, spec: {acme: {server: x}}}
---
{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: r}, spec: {}}
",
    );
    let certificate = &manifests.certificates[0];
    assert_eq!(certificate.dns_names, ["web.shop.svc", "*.web.shop.svc"]);
    assert_eq!((certificate.issuer.as_str(), certificate.cluster_issuer), ("ca", true));
    assert_eq!((certificate.duration_s, certificate.ip_addresses.len()), (86_400, 1));
    let issuers: Vec<_> = manifests
        .issuers
        .iter()
        .map(|it| (it.namespace.as_deref(), it.name.as_str(), it.kind.clone()))
        .collect();
    let root = IssuerKind::Ca { secret: "root".to_owned() };
    assert_eq!(
        issuers,
        [
            (None, "ca", root),
            (Some("default"), "own", IssuerKind::SelfSigned),
            (Some("default"), "acme", IssuerKind::Other)
        ]
    );
    assert_eq!(manifests.ignored[0].kind, "CertificateRequest");
}

#[test]
fn a_certificate_that_is_none_is_told() {
    let text = "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: a}, spec: {secretName: s, duration: 5d}}";
    let source = Source::new("web.yaml", text);
    let error = Manifests::load(&[source]).expect_err("5d is no duration").to_string();
    assert!(error.contains("this is no Certificate: spec.duration"), "{error}");
}

#[test]
fn unknown_fields_are_warnings() {
    let manifests = load(
        "apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selektor: {app: web}
  ports:
    - port: 80
      nodeport: 30080
      colour: red
",
    );
    let shown: Vec<_> = manifests
        .unknown_fields
        .iter()
        .map(|unknown| format!("{} {} {:?}", unknown.location, unknown.field, unknown.suggestion))
        .collect();
    assert_eq!(
        shown,
        [
            "web.yaml:5:3 spec.selektor Some(\"selector\")",
            "web.yaml:8:7 spec.ports[0].nodeport Some(\"nodePort\")",
            "web.yaml:9:7 spec.ports[0].colour None",
        ]
    );
}

#[test]
fn what_is_no_object() {
    assert_snapshot!(errors("- a\n---\ntext\n---\n5\n"), @r#"
    web.yaml:1:1: expected an object (a mapping), got a list (write apiVersion, kind, metadata and spec as keys)
    web.yaml:3:1: expected an object (a mapping), got the text "text" (write apiVersion, kind, metadata and spec as keys)
    web.yaml:5:1: expected an object (a mapping), got the number 5 (write apiVersion, kind, metadata and spec as keys)
    "#);
    assert_snapshot!(errors("kind: Service\n---\napiVersion: v1\nkind: [x]\n---\napiVersion: ''\nkind: null\n"), @r#"
    web.yaml:1:1: apiVersion: missing field `apiVersion` (add the apiVersion, for example apiVersion: v1)
    web.yaml:4:1: kind: expected text, got a list (write the name as text)
    web.yaml:6:13: apiVersion: expected text, got the text "" (write the name as text)
    web.yaml:7:1: kind: missing field `kind` (add the kind, for example kind: Service)
    "#);
    assert_snapshot!(errors("apiVersion: v1\nkind: List\nitems:\n  - 5\n  - {kind: Pod}\n"), @r"
    web.yaml:4:5: expected an object (a mapping), got the number 5 (write apiVersion, kind, metadata and spec as keys)
    web.yaml:5:5: apiVersion: missing field `apiVersion` (add the apiVersion, for example apiVersion: v1)
    ");
    assert_snapshot!(errors("apiVersion: v1\nkind: List\nitems: {}\n"), @"web.yaml:3:1: items: expected a list (start each object with `- `)");
    assert_snapshot!(errors("# nothing\n---\n"), @"web.yaml:1:1: expected at least one object, got none in all of the input (give the manifests of the cluster; empty documents and comments do not count)");
}

#[test]
fn kinds_that_do_not_exist() {
    assert_snapshot!(errors("apiVersion: v1\nkind: StatefulSet\nmetadata: {name: a}\n"), @"web.yaml:1:13: apiVersion: expected `apps/v1` for the kind StatefulSet, got `v1` (write apiVersion: apps/v1)");
    assert_snapshot!(errors("apiVersion: v1\nkind: service\nmetadata: {name: a}\n"), @"web.yaml:2:7: kind: `v1` has no kind `service` (did you mean `Service`?)");
}

#[test]
fn names_are_needed_and_unique() {
    assert_snapshot!(errors("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n"), @"web.yaml:3:1: metadata.name: missing field `name` of a ConfigMap (give the object a name; generateName is for kubectl create, not for objects that others refer to)");
    assert_snapshot!(errors("apiVersion: v1\nkind: ConfigMap\n"), @"web.yaml:1:1: ConfigMap: metadata: missing field `metadata` (add `metadata`; it has no default)");
    let set =
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {selector: {}, template: {}}\n";
    assert_snapshot!(errors(&format!("{set}---\n{set}")), @"web.yaml:8:18: metadata.name: StatefulSet default/db is already defined at web.yaml:3:18 (remove one of the two, or give it another name or namespace)");
}

#[test]
fn fields_of_the_wrong_type() {
    assert_snapshot!(errors("apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {a: 5, b: on}}\n"), @"web.yaml:3:35: Service default/web: metadata.labels.a: expected text, got the number 5 (write the value in quotes)");
    assert_snapshot!(
        errors("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n    - port: http\n"),
        @r#"web.yaml:6:13: Service default/web: spec.ports[0].port: expected a whole number, got the text "http" (write a whole number here)"#
    );
    assert_snapshot!(
        errors("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n    port: 80\n"),
        @"web.yaml:5:3: Service default/web: spec.ports: expected a list, got a mapping (start each element with `- `)"
    );
    assert_snapshot!(
        errors("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports: [{port: 80, targetPort: [1]}]\n"),
        @"web.yaml:5:22: Service default/web: spec.ports[0].targetPort: expected a number or a name, got a list (write a number or a name here)"
    );
    assert_snapshot!(errors("apiVersion: v1\nkind: Service\nmetadata: {name: 5}\n"), @"web.yaml:3:18: Service: metadata.name: expected text, got the number 5 (write the value in quotes)");
    assert_snapshot!(errors("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: 1}\n"), @"web.yaml:4:11: ConfigMap default/c: data.a: expected text, got the number 1 (write the value in quotes)");
    assert_snapshot!(errors("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata:\n  a: '***'\n"), @"web.yaml:5:6: Secret default/s: data.a: expected base64, got text that is not (encode the value, or write it as plain text under stringData)");
    assert_snapshot!(
        errors(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: v}\nspec:\n  capacity: {storage: 10 Gigs}\n"
        ),
        @r#"web.yaml:5:23: PersistentVolume v: spec.capacity.storage: expected a quantity such as 500m, 2 or 1Gi, got the text "10 Gigs" (write a quantity such as 500m, 2 or 1Gi here)"#
    );
}

#[test]
fn required_fields_that_are_missing() {
    assert_snapshot!(
        errors("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:\n    - name: http\n"),
        @"web.yaml:6:7: Service default/web: spec.ports[0].port: missing field `port` (add `port`; it has no default)"
    );
    assert_snapshot!(
        errors("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 3}\n"),
        @"web.yaml:4:1: StatefulSet default/db: spec.selector: missing field `selector` (add `selector`; it has no default)"
    );
    assert_snapshot!(errors("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {}\n"), @"web.yaml:4:1: Pod default/p: spec.containers: missing field `containers` (add `containers`; it has no default)");
}

#[test]
fn all_errors_of_all_files_are_collected() {
    let sources = [
        Source::new("a.yaml", "a: [\n"),
        Source::new("b.yaml", "kind: Pod\n---\napiVersion: v1\nkind: Pod\n"),
        Source::new("c.yaml", SERVICE),
    ];
    let errors = Manifests::load(&sources).expect_err("errors");
    let files: Vec<_> = errors.errors().iter().map(|error| error.location().file.to_string()).collect();
    assert_eq!(files, ["a.yaml", "b.yaml", "b.yaml"]);
    assert_eq!(errors.to_string(), "3 errors in the input");
    assert_eq!(miette::Diagnostic::related(&errors).map(Iterator::count), Some(3));
}
