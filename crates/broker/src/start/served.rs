//! Which endpoints the HTTP listeners serve: exactly those of the list that the tests over real sockets go through
//! (`tests/broker/endpoints`). A route that is added is red here until it is in the list, and there until it is tested.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const LISTED: &str = include_str!("../../tests/broker/endpoints/served.txt");

const YAML: &str = "redpanda:
  data_directory: /data
pandaproxy:
  pandaproxy_api: [{name: internal, address: 127.0.0.1, port: 8082}]
schema_registry:
  schema_registry_api: [{name: internal, address: 127.0.0.1, port: 8081}]
";

/// A broker that is not started.
fn node() -> Arc<Node> {
    let parameters = StartParameters {
        config: NodeConfig::parse(YAML, None).unwrap(),
        volume: Disk::Simulated(turmoil_fs::Fs::builder().seed(1).build()),
        clock: Arc::new(|| 0),
        seed: 1,
        status: BrokerStatus::new(),
        environment: Environment::default(),
    };
    prepare(parameters, Tasks::default(), Bugs::default()).unwrap()
}

/// What a router serves. It tells no list, but its debug form has each path, and the methods that are allowed there.
fn endpoints(api: Api, router: &axum::Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let (routes, _) = text.split_once("fallback_router: ").expect("the form of axum's router");
    let (mut paths, mut methods) = (BTreeMap::new(), BTreeMap::new());
    for part in routes.split("RouteId(").skip(1) {
        let (id, rest) = part.split_once("): ").expect("a route");
        match rest.strip_prefix('"') {
            Some(path) => paths.insert(id, path.split('"').next().expect("a path")),
            None => {
                let (_, allowed) = rest.split_once("allow_header: Bytes(b\"").expect("methods");
                methods.insert(id, allowed.split('"').next().expect("methods"))
            }
        };
    }
    assert_eq!(paths.len(), methods.len(), "the form of axum's router");
    let of = |(id, path): (&&str, &&str)| {
        let methods = methods[id].split(',').filter(|method| *method != "HEAD");
        methods.map(|method| format!("{api} {method} {path}")).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

#[tokio::test]
async fn the_list_of_endpoints_is_what_is_served() {
    let node = node();
    let listener = node.config.listeners_of(Api::HttpProxy).next().unwrap();
    let mut served = endpoints(Api::Admin, &admin::router(Arc::clone(&node)));
    served.extend(endpoints(Api::HttpProxy, &HttpProxy::new(&node).router(listener)));
    served.extend(endpoints(Api::SchemaRegistry, &schema_registry::router(&node)));
    let listed: BTreeSet<String> = LISTED.lines().map(str::to_owned).collect();
    let (added, gone): (Vec<_>, Vec<_>) =
        (served.difference(&listed).collect(), listed.difference(&served).collect());
    assert!(added.is_empty() && gone.is_empty(), "served and not listed: {added:#?}, not served: {gone:#?}");
}
