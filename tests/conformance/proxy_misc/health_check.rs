//! Health checks: kube-proxy's health endpoints run on a node of the fabric, and a host next to it asks over HTTP.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::net::TcpStream;
use hopwise_fabric::{Device, Fabric, FabricWorld, LinkConfig, LinuxNode, NodeConfig, Stack};
use hopwise_kube::cluster::health_server::{HEALTHZ_PORT, HealthServers};
use hopwise_kube::proxy::health::WAIT_MAX;
use hopwise_kube::proxy::{NodeFacts, Proxy, ProxyInput, ServiceName};
use k8s_openapi::api::core::v1::Node;
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::FILE;
use crate::case::{self, Difference, equal};
use crate::upstream::Origin;

const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const CHECKER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 9);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the case have to be known, too")]
pub struct Case {
    id: String,
    title: String,
    origin: Origin,
    steps: Vec<Step>,
    notes: Option<String>,
    derived: Option<bool>,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "notes have to be known, too")]
enum Step {
    SyncServices {
        ports: BTreeMap<String, u16>,
        expect: Expect,
        notes: Option<String>,
    },
    SyncEndpoints {
        counts: BTreeMap<String, usize>,
        expect: Expect,
        notes: Option<String>,
    },
    SetProxyHealthy {
        value: bool,
        expect: Expect,
        notes: Option<String>,
    },
    Node {
        #[serde(default)]
        taints: Vec<String>,
        #[serde(default)]
        deletion_timestamp: bool,
        expect: Expect,
        notes: Option<String>,
    },
    LocalEndpoints {
        ready: Option<Vec<bool>>,
        conditions: Option<Vec<String>>,
        expect: Expect,
        notes: Option<String>,
    },
}

/// What is to be seen after a step; what is not named is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    services: Option<usize>,
    listening: Option<Vec<SocketAddr>>,
    #[serde(default)]
    get: BTreeMap<String, Answer>,
    #[serde(rename = "/healthz")]
    healthz: Option<u16>,
    #[serde(rename = "/livez")]
    livez: Option<u16>,
    node_eligible: Option<bool>,
    services_with_local_ready: Option<usize>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    status: u16,
    #[serde(rename = "localEndpoints")]
    local_endpoints: Value,
    #[serde(rename = "serviceProxyHealthy")]
    service_proxy_healthy: Value,
    #[serde(rename = "header X-Load-Balancing-Endpoint-Weight")]
    weight: String,
}

pub fn trial(case: Case) -> Trial {
    let (id, origin) = (case.id.clone(), case.origin.clone());
    case::trial(FILE, &id, origin, move || {
        let simulation = Simulation::new(1).limit(Span::from_secs(3_600));
        let run = simulation.run(FabricWorld, || run(case));
        hopwise_fabric::uninstall();
        run.expect("the case comes to an end")
    })
}

async fn run(case: Case) -> Result<(), Difference> {
    let (node, checker) = network();
    host::spawn_on(checker, async move {
        let mut world = World { servers: start(node).await, node, checker, ports: BTreeMap::new() };
        for step in case.steps {
            world.step(step).await?;
        }
        Ok(())
    })
    .await
    .expect("the steps do not panic")
}

/// A node and a host next to it; returns the hosts of their processes.
fn network() -> (hopwise_engine::HostId, hopwise_engine::HostId) {
    let mut fabric = Fabric::new();
    let config = NodeConfig::new(vec![NODE.into()], Vec::new());
    let node = LinuxNode::new(config, hopwise_engine::stream("conformance/node"));
    let node = fabric.add("node", Device::from(node));
    let checker = fabric.add("checker", Device::Host(Stack::new(vec![CHECKER.into()])));
    let link = fabric.connect(node, checker, LinkConfig::constant(Span::from_micros(100)));
    fabric.route(node, IpAddr::from(CHECKER).into(), link.first, None);
    let hosts = (host::create("kube-proxy"), host::create("checker"));
    fabric.attach(hosts.0, node);
    fabric.attach(hosts.1, checker);
    hopwise_fabric::install(fabric);
    hosts
}

async fn start(node: hopwise_engine::HostId) -> HealthServers {
    let servers = host::within(node, || HealthServers::start(&[NODE.into()]));
    tokio::time::sleep(Duration::from_millis(1)).await;
    servers
}

struct World {
    servers: HealthServers,
    node: hopwise_engine::HostId,
    checker: hopwise_engine::HostId,
    ports: BTreeMap<String, u16>,
}

impl World {
    async fn step(&mut self, step: Step) -> Result<(), Difference> {
        match step {
            Step::SyncServices { ports, expect, .. } => {
                let named = ports.iter().map(|(name, port)| (service_name(name), *port)).collect();
                self.servers.health().sync_services(&named);
                self.ports = ports;
                self.compare(expect).await
            }
            Step::SyncEndpoints { counts, expect, .. } => {
                let named = counts.iter().map(|(name, count)| (service_name(name), *count)).collect();
                self.servers.health().sync_endpoints(&named);
                self.compare(expect).await
            }
            Step::SetProxyHealthy { value: true, expect, .. } => {
                self.servers.health().synced();
                self.compare(expect).await
            }
            Step::SetProxyHealthy { value: false, expect, .. } => {
                // A change that waits for longer than a sync may take.
                self.servers.health().queued(hopwise_engine::now());
                tokio::time::sleep(Duration::from(WAIT_MAX) + Duration::from_secs(1)).await;
                self.compare(expect).await
            }
            Step::Node { taints, deletion_timestamp, expect, .. } => {
                self.servers.health().set_node(Some(&node(&taints, deletion_timestamp)));
                self.compare(expect).await
            }
            Step::LocalEndpoints { ready, conditions, expect, .. } => {
                let mut proxy = Proxy::new(NodeFacts::new("node", vec![NODE.into()]));
                proxy.apply([balanced_service(), slice(ready.as_deref(), conditions.as_deref())]);
                self.servers.health().follow(proxy.health_checks());
                self.ports =
                    proxy.health_checks().map(|check| (check.service.to_string(), check.port)).collect();
                self.compare(expect).await
            }
        }
    }

    async fn compare(&mut self, expect: Expect) -> Result<(), Difference> {
        host::within(self.node, || self.servers.follow());
        // Time for a listener to open.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let open: Vec<SocketAddr> =
            self.servers.listening().into_iter().filter(|address| address.port() != HEALTHZ_PORT).collect();
        if let Some(services) = expect.services {
            equal(&services, &open.len())?;
        }
        if let Some(listening) = &expect.listening {
            equal(listening, &open)?;
        }
        for (service, expected) in &expect.get {
            let port = *self.ports.get(service).ok_or_else(|| Difference::new(service, "no such Service"))?;
            // Any path is good.
            let reply = self.get(port, "/any").await.ok_or_else(|| Difference::new(service, "no answer"))?;
            let found = Answer {
                status: reply.status,
                local_endpoints: reply.body["localEndpoints"].clone(),
                service_proxy_healthy: reply.body["serviceProxyHealthy"].clone(),
                weight: reply.headers.get("x-load-balancing-endpoint-weight").cloned().unwrap_or_default(),
            };
            equal(expected, &found)?;
        }
        if let Some(expected) = expect.services_with_local_ready {
            let mut found = 0;
            for port in self.ports.values() {
                let reply = self.get(*port, "/").await;
                found += usize::from(reply.is_some_and(|reply| reply.status == 200));
            }
            equal(&expected, &found)?;
        }
        self.compare_node(&expect).await
    }

    async fn compare_node(&self, expect: &Expect) -> Result<(), Difference> {
        for (path, expected) in [("/healthz", expect.healthz), ("/livez", expect.livez)] {
            if let Some(expected) = expected {
                equal(&Some(expected), &self.get(HEALTHZ_PORT, path).await.map(|reply| reply.status))?;
            }
        }
        if let Some(eligible) = expect.node_eligible {
            let reply = self.get(HEALTHZ_PORT, "/healthz").await;
            equal(&json!(eligible), &reply.map_or(Value::Null, |reply| reply.body["nodeEligible"].clone()))?;
        }
        Ok(())
    }

    /// Asks over a connection of its own.
    async fn get(&self, port: u16, path: &str) -> Option<Reply> {
        assert_eq!(host::current(), self.checker, "the checker asks");
        let mut stream = TcpStream::connect(SocketAddr::new(NODE.into(), port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {NODE}:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        Some(Reply { status, headers, body: serde_json::from_str(body).ok()? })
    }
}

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

fn service_name(name: &str) -> ServiceName {
    let (namespace, name) = name.split_once('/').expect("a Service as NAMESPACE/NAME");
    ServiceName { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn node(taints: &[String], deleted: bool) -> Node {
    let taints: Vec<Value> = taints.iter().map(|key| json!({ "key": key, "effect": "NoSchedule" })).collect();
    let deleted = deleted.then_some("2026-01-01T00:00:00Z");
    let node =
        json!({ "metadata": { "name": "node", "deletionTimestamp": deleted }, "spec": { "taints": taints } });
    serde_json::from_value(node).expect("a Node")
}

fn balanced_service() -> ProxyInput {
    let object = json!({
        "metadata": { "name": "service", "namespace": "ns" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": "172.30.0.1", "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 32_000, "ports": [{ "port": 80, "protocol": "TCP" }]
        }
    });
    ProxyInput::Service(Arc::new(serde_json::from_value(object).expect("a Service")))
}

/// Endpoints on the node: ready or not, or with conditions such as `serving,not terminating,not ready`.
fn slice(ready: Option<&[bool]>, conditions: Option<&[String]>) -> ProxyInput {
    let by_readiness = ready.unwrap_or_default().iter().map(|ready| (*ready, *ready, false));
    let by_conditions = conditions.unwrap_or_default().iter().map(|text| {
        let words: Vec<&str> =
            text.split([',', '+']).map(|word| word.trim().trim_end_matches(" only")).collect();
        let known =
            |word: &&str| matches!(word.trim_start_matches("not "), "ready" | "serving" | "terminating");
        assert!(words.iter().all(known), "{FILE}: conditions {text}");
        (words.contains(&"ready"), words.contains(&"serving"), words.contains(&"terminating"))
    });
    let endpoints =
        by_readiness.chain(by_conditions).zip(1..).map(|((ready, serving, terminating), number)| {
            json!({
                "addresses": [format!("10.0.0.{number}")], "nodeName": "node",
                "conditions": { "ready": ready, "serving": serving, "terminating": terminating }
            })
        });
    let object = json!({
        "addressType": "IPv4",
        "metadata": {
            "name": "service-1", "namespace": "ns", "labels": { "kubernetes.io/service-name": "service" }
        },
        "ports": [{ "port": 80, "protocol": "TCP" }], "endpoints": endpoints.collect::<Vec<_>>()
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(object).expect("an EndpointSlice")))
}
