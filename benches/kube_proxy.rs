//! What a node pays per change and per packet with 10 to 10,000 Services: a kube-proxy sync after one endpoint has
//! changed, and the look-up of a packet's rule. Both have to be flat: each prints the ratio of the largest cluster to
//! the smallest.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hopwise_fabric::nat::RuleTable;
use hopwise_fabric::protocol;
use hopwise_kube::proxy::{NodeFacts, Proxy, ProxyInput};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

const SERVICES: [u32; 4] = [10, 100, 1_000, 10_000];
const ENDPOINTS: u32 = 3;

fn cluster_ip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 96, 0, 0).to_bits() + 256 + service)
}

fn service(number: u32) -> ProxyInput {
    let service: Service = serde_json::from_value(json!({
        "metadata": { "name": format!("service-{number}"), "namespace": "default" },
        "spec": {
            "type": "ClusterIP", "clusterIP": cluster_ip(number), "clusterIPs": [cluster_ip(number)],
            "ipFamilies": ["IPv4"], "ports": [{ "name": "kafka", "protocol": "TCP", "port": 9092 }]
        }
    }))
    .expect("a Service");
    ProxyInput::Service(Arc::new(service))
}

/// The slice of a Service; its last endpoint is ready or not.
fn slice(number: u32, last_ready: bool) -> ProxyInput {
    let endpoint = |index: u32| {
        let ready = index + 1 < ENDPOINTS || last_ready;
        let address =
            Ipv4Addr::from_bits(Ipv4Addr::new(10, 244, 0, 0).to_bits() + number * ENDPOINTS + index);
        json!({
            "addresses": [address], "nodeName": format!("node-{}", index % 3),
            "conditions": { "ready": ready, "serving": ready, "terminating": false }
        })
    };
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {
            "name": format!("service-{number}-a"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": format!("service-{number}") }
        },
        "addressType": "IPv4", "ports": [{ "name": "kafka", "protocol": "TCP", "port": 9092 }],
        "endpoints": (0..ENDPOINTS).map(endpoint).collect::<Vec<_>>()
    }))
    .expect("an EndpointSlice");
    ProxyInput::Slice(Arc::new(slice))
}

/// A node that has synced `services` Services.
struct Node {
    proxy: Proxy,
    rules: RuleTable,
    services: u32,
}

impl Node {
    fn of(services: u32) -> Node {
        let facts = NodeFacts::new("node-0", vec![Ipv4Addr::new(10, 0, 0, 10).into()]);
        let mut node = Node { proxy: Proxy::new(facts), rules: RuleTable::default(), services };
        let inputs = (0..services).flat_map(|number| [service(number), slice(number, true)]);
        node.sync(inputs.collect());
        assert_eq!(node.rules.len(), services as usize, "a rule for each Service");
        node
    }

    fn sync(&mut self, inputs: Vec<ProxyInput>) -> usize {
        let change = self.proxy.apply(inputs);
        let changed = change.put.len() + change.removed.len();
        for key in change.removed {
            assert!(self.rules.remove_rule(key), "kube-proxy removes rules that are there");
        }
        change.put.into_iter().for_each(|rule| self.rules.set_rule(rule));
        changed
    }

    /// The time of syncs after one endpoint has changed; building the slice is not part of it.
    #[expect(clippy::disallowed_methods, reason = "measures wall time")]
    fn syncs(&mut self, count: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for round in 0..count {
            let number = u32::try_from(round.wrapping_mul(7_919) / 2 % u64::from(self.services)).unwrap_or(0);
            for last_ready in [false, true] {
                let input = vec![slice(number, last_ready)];
                let started = Instant::now();
                let changed = self.sync(input);
                spent += started.elapsed();
                assert_eq!(changed, 1, "one Service's rule");
            }
        }
        spent / 2
    }

    /// The time of look-ups of Services all over the table.
    #[expect(clippy::disallowed_methods, reason = "measures wall time")]
    fn look_ups(&self, count: u64) -> Duration {
        let started = Instant::now();
        for round in 0..count {
            let number = u32::try_from(round.wrapping_mul(7_919) % u64::from(self.services)).unwrap_or(0);
            let destination = SocketAddr::new(IpAddr::V4(cluster_ip(number)), 9092);
            let found = self.rules.find(std::hint::black_box(destination), protocol::TCP, false);
            assert!(std::hint::black_box(found).is_some());
        }
        started.elapsed()
    }
}

/// Prints the time of one operation in each cluster, and the largest over the smallest.
fn print_ratio(what: &str, mut time: impl FnMut(u32) -> f64) {
    let times: Vec<f64> = SERVICES.into_iter().map(&mut time).collect();
    for (services, ns) in SERVICES.into_iter().zip(&times) {
        println!("{what}, {services:>6} Services: {ns:.0} ns");
    }
    println!("{what}: 10,000 Services / 10 Services = {:.2}", times[3] / times[0]);
}

fn syncs(criterion: &mut Criterion) {
    print_ratio("kube-proxy sync after one endpoint change", |services| {
        let mut node = Node::of(services);
        node.syncs(200);
        node.syncs(2_000).as_nanos() as f64 / 2_000.0
    });
    let mut group = criterion.benchmark_group("kube-proxy/sync-after-one-endpoint-change");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for services in SERVICES {
        let mut node = Node::of(services);
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            bencher.iter_custom(|iterations| node.syncs(iterations));
        });
    }
    group.finish();
}

fn look_ups(criterion: &mut Criterion) {
    print_ratio("rule look-up per packet", |services| {
        let node = Node::of(services);
        node.look_ups(100_000);
        node.look_ups(1_000_000).as_nanos() as f64 / 1e6
    });
    let mut group = criterion.benchmark_group("kube-proxy/rule-look-up");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for services in SERVICES {
        let node = Node::of(services);
        group.bench_function(BenchmarkId::from_parameter(services), |bencher| {
            bencher.iter_custom(|iterations| node.look_ups(iterations));
        });
    }
    group.finish();
}

criterion_group!(benches, syncs, look_ups);
criterion_main!(benches);
