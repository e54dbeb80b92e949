//! try
use hopwise_lab::run::*;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let loaded = match load_scenario(std::path::Path::new(&args[1])) {
        Ok(l) => l,
        Err(e) => {
            println!("{e:?}");
            return;
        }
    };
    let seeds = args[2].split_once("..").map(|(a, b)| a.parse::<u64>().unwrap()..b.parse().unwrap());
    if let Some(seeds) = seeds {
        for seed in seeds {
            let r = run_scenario(loaded.clone(), RunOptions { seed: Some(seed), captures: None }).unwrap();
            println!(
                "{seed} {:?} {} wall {} ms sim {}",
                r.verdict,
                r.trace_hash,
                r.wall_ns / 1_000_000,
                r.simulated_ns
            );
            for c in r.checks.iter().filter(|c| !c.ok) {
                println!("   {} ({})", c.name, c.detail);
            }
        }
        return;
    }
    let r = run_scenario(
        loaded,
        RunOptions { seed: args[2].parse().ok(), captures: args.get(3).map(Into::into) },
    )
    .unwrap();
    println!(
        "{}",
        hopwise_lab::report::run_text(&r, hopwise_lab::report::Paper { width: 120, colour: false })
    );
    println!("wall {} ms", r.wall_ns / 1_000_000);
    println!("{:?}", r.data);
}
