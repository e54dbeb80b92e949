//! smoke
use hopwise_kube::source::Source;
use hopwise_lab::{inputs::*, simulate::*};
fn main() {
    let files: Vec<String> = std::env::args().skip(2).collect();
    let cluster = std::env::args().nth(1).unwrap();
    let sources: Vec<Source> = files
        .iter()
        .map(|f| Source { name: f.clone().into(), text: std::fs::read_to_string(f).unwrap().into() })
        .collect();
    let s = Surroundings {
        cluster: (cluster != "-").then(|| Source {
            name: cluster.clone().into(),
            text: std::fs::read_to_string(&cluster).unwrap().into(),
        }),
        ..Default::default()
    };
    let inputs = match Inputs::load(&sources, &s) {
        Ok(i) => i,
        Err(e) => {
            println!("{:?}", e);
            return;
        }
    };
    for r in &inputs.rejections {
        println!("rejected {r:?}");
    }
    let wall = std::time::Instant::now();
    let out = simulate(inputs, Start::default(), |started| async move {
        println!("settled {:?} at {}", started.settled, hopwise_engine::now());
        for e in hopwise_engine::notable_events() {
            println!("{} {} {} {}", e.at, e.kind, e.object, e.detail);
        }
        for b in started.brokers.all() {
            println!("{} {:?} {:?}", b.pod, b.status.broker_id(), b.status.phase());
        }
        for f in started.brokers.failures() {
            println!("{f:?}");
        }
        println!("{:?}", started.cluster.assumptions());
        println!("log {}", hopwise_engine::with_log(|l| l.len()));
        hopwise_engine::trace_hash()
    });
    println!("{out:?} wall {:?}", wall.elapsed());
}
