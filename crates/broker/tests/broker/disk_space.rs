//! Disks of a known size.

use std::sync::Arc;
use std::time::Duration;

use hopwise_broker::{Disk, DiskTrouble};
use kafka_protocol::records::Compression;

use crate::admin::{get, until};
use crate::support::{batch, leader_of, new_cluster};

const MIB: u64 = 1 << 20;

struct Sized(u64);

impl DiskTrouble for Sized {
    fn is_full(&self) -> bool {
        false
    }

    fn extra_latency(&self) -> Duration {
        Duration::ZERO
    }

    fn capacity_bytes(&self) -> Option<u64> {
        Some(self.0)
    }
}

/// The free bytes of the broker's disk, and the alert.
async fn space(ip: std::net::IpAddr) -> (u64, f64) {
    let brokers = get(ip, "/v1/brokers").await.json();
    let disk = &brokers[0]["disk_space"][0];
    assert_eq!((&disk["path"], &disk["total"]), (&"/var/lib/redpanda/data".into(), &(16 * MIB).into()));
    let metrics = get(ip, "/public_metrics").await.body;
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing")).parse::<f64>().unwrap()
    };
    assert_eq!(value("redpanda_storage_disk_total_bytes"), (16 * MIB) as f64);
    assert!(value("redpanda_storage_disk_free_bytes") <= (16 * MIB) as f64);
    (disk["free"].as_u64().unwrap(), value("redpanda_storage_disk_free_space_alert"))
}

#[tokio::test]
async fn space_is_reported_and_too_little_of_it_stops_producers() {
    let mut brokers = new_cluster(1);
    let volume = Box::new(Disk::Simulated(brokers[0].volume.clone()));
    brokers[0].disk = Some(Disk::Troubled(volume, Arc::new(Sized(16 * MIB))));
    brokers[0]
        .bootstrap
        .push_str("storage_min_free_bytes: 10485760\nstorage_space_alert_free_threshold_bytes: 14680064\n");
    brokers[0].start();
    brokers[0].ready().await;
    let ip = brokers[0].ip;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    leader_of(&brokers, "orders", 0).await;
    let (before, alert) = space(ip).await;
    assert!(before > 15 * MIB && alert == 0.0, "{before} {alert}");

    let value = "x".repeat(900_000);
    let mut stored = 0;
    loop {
        let answer = client.produce("orders", 0, -1, batch(&[&value], Compression::None)).await;
        match answer.error_code {
            0 => stored += 1,
            // BROKER_NOT_AVAILABLE
            8 => break,
            code => panic!("{code} after {stored} records"),
        }
        if stored == 3 {
            assert_eq!(space(ip).await.1, 1.0, "an alert comes first");
        }
        assert!(stored < 10, "16 MiB less 10 MiB do not take {stored} records");
    }
    // Six records leave less than 11 MiB, and seven less than 10.
    assert!((6..=7).contains(&stored), "{stored}");
    let (free, alert) = space(ip).await;
    assert!(free < 10 * MIB && alert == 2.0, "{free} {alert}");

    // The files are counted anew after a restart.
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    until("the same space is free", || async { space(ip).await.0.abs_diff(free) < MIB / 4 }).await;
}

#[tokio::test]
async fn a_disk_of_unknown_size_is_left_out() {
    let brokers = crate::support::start_cluster(1).await;
    let listed = get(brokers[0].ip, "/v1/brokers").await.json();
    assert_eq!(listed[0]["disk_space"], serde_json::json!([]));
    assert!(!get(brokers[0].ip, "/public_metrics").await.body.contains("redpanda_storage_disk"));
}
