//! A short attack on each listener, and brokers that are seen to fail.

use std::time::Duration;

use hopwise_fuzz::cluster::{Cluster, Failure};
use hopwise_fuzz::run::{Target, attack, count_panics};

#[tokio::test]
async fn every_listener_survives() {
    count_panics();
    let mut cluster = Cluster::start(1).await.unwrap();
    for target in Target::ALL {
        let report = attack(&mut cluster, target, 7, Duration::from_secs(2)).await.unwrap();
        // The RPC corpus is what brokers have said to each other so far.
        let least = if target == Target::Rpc { 5 } else { 10 };
        assert!(report.inputs > 20 && report.corpus > least, "{report:?}");
        // Who is of another cluster gets an answer from the RPC listener only if the frame is whole.
        assert!(report.answered > 5 || target == Target::Rpc, "{report:?}");
        assert!(report.acknowledged > 30, "{report:?}");
    }
}

#[tokio::test]
async fn brokers_that_are_gone_are_noticed() {
    let mut cluster = Cluster::start(2).await.unwrap();
    assert_eq!(cluster.check_kept().await.unwrap(), 30);
    cluster.stop().await;
    let found = attack(&mut cluster, Target::Admin, 7, Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(found.failure, Failure::NotServing(_) | Failure::Down { .. }), "{found}");
}
