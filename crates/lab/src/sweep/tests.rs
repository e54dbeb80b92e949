use std::path::PathBuf;

use super::*;
use crate::report::replay;
use crate::run::{RunOptions, load_scenario, run_scenario};

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/kubernetes/pod-is-deleted.yaml")
}

fn loaded() -> LoadedScenario {
    load_scenario(&path()).expect("sound")
}

fn options(jobs: usize, shard: &str, out: Option<&Path>) -> SweepOptions {
    SweepOptions {
        seeds: "3..8".parse().expect("seeds"),
        shard: shard.parse().expect("a shard"),
        jobs: NonZeroUsize::new(jobs).expect("at least one"),
        out: out.map(|path| (Location::Path(path.to_owned()), Format::JsonLines)),
    }
}

fn rows(path: &Path) -> Vec<SeedRow> {
    let rows = table::read(Format::JsonLines, std::fs::File::open(path).expect("there")).expect("rows");
    rows.map(|row| SeedRow { wall_ns: 0, ..row.expect("a row") }).collect()
}

#[test]
fn a_row_is_that_of_the_seed_alone_whatever_runs_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let [one, two] = [1, 2].map(|jobs| {
        let out = directory.path().join(format!("{jobs}.jsonl"));
        let mut progress = Vec::new();
        let report = sweep(loaded(), &path(), &options(jobs, "0/1", Some(&out)), &mut |row, now| {
            progress.push((row.seed, now));
        });
        let report = report.expect("it ends");
        assert_eq!((report.passed, report.failed, report.resumed), (5, 0, 0));
        assert_eq!(report.out, Some(out.display().to_string()));
        let ended: Vec<u64> = progress.iter().map(|(_, now)| now.ended).collect();
        assert_eq!(ended, [1, 2, 3, 4, 5]);
        rows(&out)
    });
    assert_eq!(one, two);
    assert_eq!(one.iter().map(|row| row.seed).collect::<Vec<_>>(), [3, 4, 5, 6, 7]);
    let alone = RunOptions { seed: Some(5), ..RunOptions::default() };
    let alone = run_scenario(loaded(), alone).expect("it ends");
    assert_eq!(one[2].trace_hash, alone.trace_hash);
    assert_eq!(one[2].simulated_ns, alone.simulated_ns);
    assert_eq!(one[2].checks, alone.checks.len() as u64);
}

#[test]
fn an_interrupted_sweep_runs_what_is_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("rows.jsonl");
    let sweep_of = |kept: &[u64]| {
        let identity = Identity {
            inputs_hash: loaded().hash,
            version: env!("CARGO_PKG_VERSION").into(),
            seeds: "3..8".parse().expect("seeds"),
        };
        let header = Header { sweep: identity.clone(), shard: Shard::WHOLE, program: program() };
        let mut spool = Spool::open(Some(&Location::Path(out.clone())), &header).expect("opened");
        for seed in kept {
            let row = SeedRow { sweep: identity.clone(), ..fixture::row(*seed) };
            spool.keep(&row).expect("kept");
        }
        drop(spool);
        let mut ran = Vec::new();
        let report =
            sweep(loaded(), &path(), &options(2, "0/1", Some(&out)), &mut |row, _| ran.push(row.seed));
        ran.sort_unstable();
        (report.expect("it ends"), ran)
    };
    let (report, ran) = sweep_of(&[3, 6, 7]);
    assert_eq!(ran, [4, 5]);
    assert_eq!((report.resumed, report.passed, report.failed), (3, 4, 1));
    assert_eq!(report.failures[0].seed, 3);
    let seeds: Vec<u64> = rows(&out).iter().map(|row| row.seed).collect();
    assert_eq!(seeds, [3, 4, 5, 6, 7]);
    let (report, ran) = sweep_of(&[]);
    assert_eq!((ran.len(), report.resumed), (5, 0), "a sweep that has ended begins anew");
}

#[test]
fn shards_of_the_same_sweep_are_joined_to_the_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let mut shards = Vec::new();
    for index in 0..3 {
        let out = at(&format!("{index}.jsonl"));
        let shard = format!("{index}/3");
        let report = sweep(loaded(), &path(), &options(1, &shard, Some(&out)), &mut |_, _| {});
        assert_eq!(report.expect("it ends").shard.map(String::from), Some(shard));
        shards.push(Location::Path(out));
    }
    merge(&shards, &Location::Path(at("merged.jsonl")), Format::JsonLines).expect("joined");
    sweep(loaded(), &path(), &options(2, "0/1", Some(&at("whole.jsonl"))), &mut |_, _| {}).expect("it ends");
    assert_eq!(rows(&at("merged.jsonl")), rows(&at("whole.jsonl")));
}

#[test]
fn a_seed_that_fails_is_listed_with_the_line_that_runs_it_again() {
    let mut scenario = loaded();
    scenario.scenario.bounds.start = "1s".parse().expect("a duration");
    let mut options = options(1, "0/1", None);
    options.seeds = "9..10".parse().expect("seeds");
    let report = sweep(scenario, &path(), &options, &mut |_, _| {}).expect("it ends");
    assert_eq!((report.passed, report.failed, report.out.as_deref()), (0, 1, None));
    assert_eq!(report.failures[0].replay, replay(&path().display().to_string(), 9));
    assert!(!report.failures[0].check.is_empty(), "{report:?}");
}

fn standard_faults() -> (PathBuf, LoadedScenario) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/standard-faults.yaml");
    let loaded = load_scenario(&path).expect("sound");
    (path, loaded)
}

#[test]
fn the_standard_fault_scenario_draws_five_faults_that_are_healed_in_time() {
    let (_, loaded) = standard_faults();
    assert_eq!(loaded.scenario.clients.len(), 10);
    for seed in 0..200 {
        let drawn = loaded.scenario.drawn(&loaded.inputs, seed);
        assert_eq!(drawn.faults.len(), 5, "seed {seed}");
        assert!(drawn.last_fault() <= Some("45s".parse().expect("a duration")), "seed {seed}");
        assert_eq!([drawn.problems(), drawn.unknown_objects(&loaded.inputs)].concat(), [], "seed {seed}");
    }
}

#[test]
fn seeds_of_the_standard_fault_scenario_pass() {
    let (path, loaded) = standard_faults();
    let options = SweepOptions { seeds: "2..4".parse().expect("seeds"), ..options(2, "0/1", None) };
    let report = sweep(loaded, &path, &options, &mut |_, _| {});
    let report = report.expect("it ends");
    assert_eq!(report.failures, []);
}
