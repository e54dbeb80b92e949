//! How long a cluster takes to start and settle: 100 nodes, 1,000 pods and 1,000 Services, and a tenth of that.
//!
//! Half of the pods are those of Deployments, half those of StatefulSets with a claim each. Ten Services select each
//! workload's pods. Reading the manifests is not part of it.

use std::fmt::Write;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hopwise_kube::cluster::Settled;
use hopwise_kube::source::Source;
use hopwise_lab::inputs::{Inputs, Surroundings};
use hopwise_lab::simulate::{Start, Started, simulate};

/// What a cluster of 100 nodes, 1,000 pods and 1,000 Services may take.
const GOAL: Duration = Duration::from_secs(2);

/// The manifests of `pods` pods (a multiple of 20) in workloads of ten, with ten Services each.
fn manifests(pods: usize) -> String {
    let mut text = String::new();
    for index in 0..pods / 10 {
        let (name, stateful) = (format!("app-{index}"), index % 2 == 0);
        let (kind, more) = match stateful {
            true => (
                "StatefulSet",
                ", podManagementPolicy: Parallel, volumeClaimTemplates: [{ metadata: { name: data }, spec: \
                 { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } }]",
            ),
            false => ("Deployment", ""),
        };
        let service_name = if stateful { format!(", serviceName: {name}-0") } else { String::new() };
        writeln!(
            text,
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: load }}\n\
             spec: {{ replicas: 10{service_name}, selector: {{ matchLabels: {{ app: {name} }} }}, \
             template: {{ metadata: {{ labels: {{ app: {name} }} }}, spec: {{ containers: [{{ name: c, \
             image: example/app:1, ports: [{{ containerPort: 9092 }}] }}] }} }}{more} }}\n---"
        )
        .expect("text");
        for service in 0..10 {
            writeln!(
                text,
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}-{service}, namespace: load }}\n\
                 spec: {{ selector: {{ app: {name} }}, ports: [{{ port: {} }}] }}\n---",
                9000 + service
            )
            .expect("text");
        }
    }
    text
}

/// The wall time of one start, and the virtual time at which everything was ready.
#[expect(clippy::disallowed_methods, reason = "measures wall time")]
fn start(nodes: u16, pods: usize) -> (Duration, Duration) {
    let sources = [Source::new("load.yaml", &manifests(pods))];
    let surroundings = Surroundings { cluster: None, nodes: Some(nodes), profile: None };
    let inputs = match Inputs::load(&sources, &surroundings) {
        Ok(inputs) => inputs,
        Err(error) => panic!("{:?}", miette::Report::from(error)),
    };
    let started = Instant::now();
    let ready_at = simulate(inputs, Start::default(), |Started { settled, .. }| async move {
        assert_eq!(settled, Settled::Ready);
        Duration::from_nanos(hopwise_engine::now().as_nanos())
    });
    (started.elapsed(), ready_at.expect("the simulation ends"))
}

fn cluster_start(criterion: &mut Criterion) {
    let sizes = [(10, 100), (100, 1_000)];
    let best = |(nodes, pods)| (0..3).map(|_| start(nodes, pods)).min().expect("three runs");
    let measured = sizes.map(best);
    for ((nodes, pods), (wall, ready_at)) in sizes.into_iter().zip(measured) {
        println!(
            "{nodes} nodes, {pods} pods, {pods} Services: {wall:.2?} wall, {ready_at:.1?} of virtual time"
        );
    }
    println!(
        "ten times the cluster / the cluster = {:.1}",
        measured[1].0.as_secs_f64() / measured[0].0.as_secs_f64()
    );
    println!("100 nodes / goal of {GOAL:?} = {:.2}", measured[1].0.as_secs_f64() / GOAL.as_secs_f64());
    let mut group = criterion.benchmark_group("cluster/start");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (nodes, pods) in sizes {
        group.bench_function(BenchmarkId::from_parameter(pods), |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| start(nodes, pods).0).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, cluster_start);
criterion_main!(benches);
