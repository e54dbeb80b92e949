//! The clients of this crate in a simulated cluster of three brokers.

use std::error::Error;
use std::time::Duration;

use hopwise::net::{TcpStream, lookup_host};
use hopwise::testing::Lab;
use hopwise_example::{http, kafka};
use tokio::time::Instant;

type Tested = Result<(), Box<dyn Error>>;

/// Connects to `host:port` by the names and routes of the place where it runs.
async fn connect(address: &str) -> std::io::Result<TcpStream> {
    let (host, port) = address.rsplit_once(':').ok_or(std::io::ErrorKind::InvalidInput)?;
    let port = port.parse().map_err(std::io::Error::other)?;
    let mut addresses = lookup_host(host, port).await?;
    TcpStream::connect(addresses.next().ok_or(std::io::ErrorKind::NotFound)?).await
}

/// Bootstraps by one address, then connects to every broker at the address that it was told.
async fn reach_all(bootstrap: &'static str) -> std::io::Result<Vec<String>> {
    let told = kafka::brokers(&mut connect(bootstrap).await?).await?;
    for broker in &told {
        let mut connection = connect(&broker.address).await?;
        assert_eq!(
            kafka::brokers(&mut connection).await?,
            told,
            "broker {} knows the same brokers",
            broker.id
        );
    }
    Ok(told.into_iter().map(|broker| broker.address).collect())
}

#[hopwise::test(
    manifests = ["../../scenarios/manifests/brokers.yaml", "../../scenarios/manifests/nodeport.yaml"],
    cluster = "../../scenarios/three-zones.yaml"
)]
async fn a_client_outside_reaches_every_broker_by_its_node_port(lab: Lab) -> Tested {
    let client = lab.at("external").await?;
    let told = client.run(reach_all("node-0.nodes.example.com:31092")).await?;
    assert_eq!(told, lab.advertised("nodeport"));
    assert_eq!(told.len(), 3);
    Ok(())
}

#[hopwise::test(manifests = ["../../scenarios/manifests/brokers.yaml"], seeds = 0..2)]
async fn a_client_in_a_pod_reaches_every_broker_by_its_pod_name(lab: Lab) -> Tested {
    let client = lab.at("in-cluster").await?;
    let told = client.run(reach_all("redpanda-0.redpanda.redpanda.svc.cluster.local.:10092")).await?;
    assert_eq!(told, lab.advertised("internal"));
    Ok(())
}

#[hopwise::test(manifests = ["../../scenarios/manifests/brokers.yaml"])]
async fn the_admin_api_lists_the_brokers(lab: Lab) -> Tested {
    const HOST: &str = "redpanda-2.redpanda.redpanda.svc.cluster.local.";
    let client = lab.at("in-cluster").await?;
    let asked = client.run(async {
        let stream = connect(&format!("{HOST}:9644")).await?;
        http::get(stream, HOST, "/v1/brokers").await
    });
    let (status, brokers) = asked.await?;
    assert_eq!(status, 200);
    let ids: Vec<_> =
        brokers.as_array().into_iter().flatten().filter_map(|it| it["node_id"].as_i64()).collect();
    assert_eq!(ids.len(), lab.brokers().len(), "{brokers}");
    Ok(())
}

#[hopwise::test(
    manifests = ["../../scenarios/manifests/brokers.yaml", "../../scenarios/manifests/nodeport.yaml"],
    cluster = "../../scenarios/three-zones.yaml",
    faults = "- {at: 5s, powerOffNode: node-1}"
)]
async fn a_node_without_power_is_met_by_silence(lab: Lab) -> Tested {
    let client = lab.at("external").await?;
    let (before, after) = client
        .run(async {
            let before = connect("node-1.nodes.example.com:31092").await.is_ok();
            tokio::time::sleep(Duration::from_secs(10)).await;
            let began = Instant::now();
            let attempt = connect("node-1.nodes.example.com:31092");
            let after = tokio::time::timeout(Duration::from_secs(30), attempt).await.map(|it| it.is_ok());
            (before, (after, began.elapsed()))
        })
        .await;
    assert!(before, "the node answers while it has power");
    assert!(after.0.is_err(), "nobody refuses: {after:?}");
    assert_eq!(after.1.as_secs(), 30);
    Ok(())
}
