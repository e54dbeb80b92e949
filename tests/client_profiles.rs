//! One fault under one client of each profile: what each makes of it.

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::{ClientCourse, RunReport};
use hopwise_lab::report::{Paper, run_text};
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use hopwise_tests::scenarios;

fn run() -> RunReport {
    let loaded = load_scenario(&scenarios().join("client-profiles.yaml"))
        .unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    run_scenario(loaded, RunOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// How long the client of a profile took to recover from the loss, in seconds.
fn recovery(client: &ClientCourse) -> f64 {
    let lost = client.recoveries.iter().find(|recovery| recovery.fault == "lost").expect("the fault struck");
    assert!(lost.failures > 0, "{} noticed nothing", client.client);
    let recovered = lost.recovered_ns.unwrap_or_else(|| panic!("{} never recovered", client.client));
    recovered as f64 / 1e9
}

#[test]
fn each_profile_recovers_in_its_own_time() {
    let report = run();
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.checks);
    let of = |profile: &str| {
        report.clients.iter().find(|client| client.profile == profile).expect("there is one of each")
    };
    let [librdkafka, java, franz_go, naive] = ["librdkafka", "java", "franz-go", "naive"].map(of);
    let text = run_text(&report, Paper::default());
    // A request under way to the dead broker is waited for: 20 s by franz-go (10 s and the 10 s that it gives the broker),
    // 30 s by Java, 60 s by librdkafka. Then each asks for metadata and goes on.
    assert!((20.0..30.0).contains(&recovery(franz_go)), "{text}");
    assert!((30.0..45.0).contains(&recovery(java)), "{text}");
    assert!((60.0..75.0).contains(&recovery(librdkafka)), "{text}");
    // The naive client hangs until the node is back, a minute after the loss.
    assert!(recovery(naive) > 60.0, "{text}");
    assert!(
        franz_go.connections_opened > java.connections_opened,
        "a connection per kind of request: {text}"
    );
    for client in &report.clients {
        assert!(text.contains(&client.profile), "{text}");
    }
}
