//! Round trips and hop events per second of wall time, with 1, 100 and 1,000 pairs of hosts.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn echo(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine/round-trip");
    group.sample_size(10).measurement_time(Duration::from_secs(8));
    for pairs in [1, 100, 1_000] {
        let probe = hopwise_benches::echo::round_trips(pairs, 200);
        let round_trips = u64::from(pairs) * 200;
        println!(
            "{pairs} pairs: {:.0} round trips/s, {:.2} million hop events/s, {:.1} events per round trip, {:?} of virtual time each",
            round_trips as f64 / probe.wall.as_secs_f64(),
            probe.events as f64 / probe.wall.as_secs_f64() / 1e6,
            probe.events as f64 / round_trips as f64,
            probe.round_trip,
        );
        group.throughput(Throughput::Elements(1));
        group.bench_with_input(BenchmarkId::from_parameter(pairs), &pairs, |bencher, &pairs| {
            bencher.iter_custom(|iterations| {
                // Each pair does its share; setting up the hosts is part of it and small beside 50 rounds.
                let rounds =
                    u32::try_from(iterations.div_ceil(u64::from(pairs))).expect("few enough").max(50);
                let echo = hopwise_benches::echo::round_trips(pairs, rounds);
                echo.wall.mul_f64(iterations as f64 / f64::from(pairs * rounds))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, echo);
criterion_main!(benches);
