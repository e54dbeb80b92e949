//! The three ways of `scenarios/nodeport-vs-loadbalancer.yaml`: virtual latency of each, and wall time per simulated
//! request.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hopwise_lab::report::run::RunReport;
use hopwise_lab::run::{LoadedScenario, RunOptions, load_scenario, run_scenario};

const WAYS: [&str; 3] = ["in-cluster", "nodeport", "loadbalancer"];
const REQUESTS: u32 = 300;

fn scenario() -> LoadedScenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/nodeport-vs-loadbalancer.yaml");
    load_scenario(&path).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)))
}

/// The scenario with one client that produces `requests` times.
fn one_way(way: &str, requests: u32) -> RunReport {
    let mut loaded = scenario();
    loaded.scenario.clients.retain(|client| client.name == way);
    loaded.scenario.expect = hopwise_lab::scenario::Expect::default();
    let workload = loaded.scenario.workload.as_mut().expect("the scenario has a workload");
    workload.consumers = None;
    if let Some(producers) = &mut workload.producers {
        producers.requests = requests;
    }
    run_scenario(loaded, RunOptions::default()).expect("runs")
}

fn hop_latency(criterion: &mut Criterion) {
    let report = run_scenario(scenario(), RunOptions::default()).expect("runs");
    println!(
        "virtual latency, {} s simulated in {:.3} s:",
        report.simulated_ns / 1_000_000_000,
        report.wall_ns as f64 / 1e9
    );
    for row in &report.latency {
        if matches!(row.operation.as_str(), "produce" | "fetch" | "connect") {
            let ms = |ns: u64| ns as f64 / 1e6;
            println!(
                "  {:<13} {:<8} {} hops  p50 {:.3} ms  p90 {:.3} ms  p99 {:.3} ms",
                row.route,
                row.operation,
                row.hops,
                ms(row.p50_ns),
                ms(row.p90_ns),
                ms(row.p99_ns)
            );
        }
    }
    let mut group = criterion.benchmark_group("hop_latency/wall-per-request");
    group.sample_size(10).measurement_time(Duration::from_secs(8)).throughput(Throughput::Elements(1));
    for way in WAYS {
        group.bench_with_input(BenchmarkId::from_parameter(way), way, |bencher, way| {
            bencher.iter_custom(|iterations| {
                // What more requests cost: the start of the cluster is taken away.
                let more = u32::try_from(iterations).unwrap_or(u32::MAX).clamp(1, 20_000);
                let (short, long) = (one_way(way, REQUESTS).wall_ns, one_way(way, REQUESTS + more).wall_ns);
                Duration::from_nanos(long.saturating_sub(short).max(1))
                    .mul_f64(iterations as f64 / f64::from(more))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hop_latency);
criterion_main!(benches);
