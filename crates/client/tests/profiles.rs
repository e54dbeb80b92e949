//! What profiles do differently with the same brokers, on loopback.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{Shared, locked, make_topic};
use hopwise_client::behaviour::{AddressChange, Behaviour, Patience, Rebootstrap};
use hopwise_client::{
    Acks, Client, FetchOptions, HostPort, Operation, Options, Profile, Record, RequestRecord,
};
use kafka_protocol::messages::ApiKey;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn client(cluster: &Shared, behaviour: Behaviour) -> (Client, UnboundedReceiver<RequestRecord>) {
    let (sender, records) = unbounded_channel();
    let options = Options::new(vec![locked(cluster).advertised[&0].clone()]);
    let client = Client::new(Options { behaviour, observer: Some(Arc::new(sender)), ..options });
    (client.expect("it has a bootstrap address"), records)
}

async fn produce(client: &Client) {
    client.produce("t", 0, &[Record::new("key", "value")], Acks::All).await.expect("a leader takes it");
}

fn drain(records: &mut UnboundedReceiver<RequestRecord>) -> Vec<RequestRecord> {
    std::iter::from_fn(|| records.try_recv().ok()).collect()
}

/// The kinds of the attempts that a client needs after the leader has moved from broker 0 to broker 1.
async fn after_a_move(profile: Profile) -> Vec<(Operation, Option<i16>)> {
    let cluster = fake::start(2).await;
    make_topic(&cluster, "t", &[0]);
    locked(&cluster).hints = true;
    // Metadata asked for within franz-go's minimal interval would come late; it is not asked for here.
    let (client, mut records) = client(&cluster, profile.behaviour());
    produce(&client).await;
    drain(&mut records);
    {
        let mut cluster = locked(&cluster);
        cluster.really.insert(("t".to_owned(), 0), 1);
        cluster.told_late = 1;
    }
    produce(&client).await;
    drain(&mut records).into_iter().map(|record| (record.operation, record.error_code)).collect()
}

#[tokio::test]
async fn a_leader_hint_saves_the_metadata_request() {
    let (denied, taken) = ((Operation::Produce, Some(6)), (Operation::Produce, Some(0)));
    for profile in [Profile::Java, Profile::Librdkafka, Profile::FranzGo] {
        assert_eq!(after_a_move(profile).await, [denied, taken], "{profile}");
    }
    for profile in [Profile::Naive, Profile::Hopwise] {
        assert_eq!(after_a_move(profile).await, [denied, (Operation::Metadata, Some(0)), taken], "{profile}");
    }
}

#[tokio::test]
async fn connections_are_opened_as_the_profile_has_it() {
    let opened = async |profile: Profile| {
        let cluster = fake::start(1).await;
        make_topic(&cluster, "t", &[0]);
        let (client, _records) = client(&cluster, profile.behaviour());
        produce(&client).await;
        client.fetch("t", 0, 0, FetchOptions::default()).await.expect("it leads");
        client.metadata().await.expect("it answers");
        client.counters().connections_opened
    };
    assert_eq!(opened(Profile::Librdkafka).await, 1, "the bootstrap connection becomes the broker's");
    assert_eq!(opened(Profile::Java).await, 2, "bootstrap, broker");
    assert_eq!(opened(Profile::FranzGo).await, 4, "bootstrap, produce, fetch, the rest");
}

#[tokio::test]
async fn a_lost_connection_makes_all_but_the_naive_ask_for_metadata() {
    for (profile, wanted) in [(Profile::Java, 1), (Profile::Librdkafka, 1), (Profile::Naive, 0)] {
        let cluster = fake::start(1).await;
        make_topic(&cluster, "t", &[0]);
        let (client, mut records) = client(&cluster, profile.behaviour());
        produce(&client).await;
        drain(&mut records);
        locked(&cluster).faults.close = Some((ApiKey::Produce, 1));
        produce(&client).await;
        let asked = drain(&mut records).iter().filter(|it| it.operation == Operation::Metadata).count();
        assert_eq!(asked, wanted, "{profile}");
    }
}

#[tokio::test]
async fn a_broker_that_moves_is_followed_at_once_or_when_its_connection_breaks() {
    for (change, follows) in
        [(AddressChange::Drain, true), (AddressChange::Close, true), (AddressChange::Keep, false)]
    {
        let cluster = fake::start(1).await;
        make_topic(&cluster, "t", &[0]);
        let behaviour = Behaviour { address_change: change, ..Profile::Hopwise.behaviour() };
        let (client, mut records) = client(&cluster, behaviour);
        produce(&client).await;
        let before = locked(&cluster).advertised[&0].clone();
        let after = fake::moves(&cluster, 0).await;
        client.metadata().await.expect("it answers");
        drain(&mut records);
        produce(&client).await;
        let wanted = if follows { &after } else { &before };
        assert_eq!(&drain(&mut records)[0].address, wanted, "{change}");
        locked(&cluster).faults.close = Some((ApiKey::Produce, 1));
        produce(&client).await;
        let last = drain(&mut records).pop().expect("it was sent");
        assert_eq!(last.address, after, "{change}: after the loss");
    }
}

#[tokio::test]
async fn an_idle_connection_is_not_used_again() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    let idle = Some(Duration::from_millis(50));
    let behaviour = Behaviour { connections_max_idle: idle, ..Profile::Librdkafka.behaviour() };
    let (client, _records) = client(&cluster, behaviour);
    produce(&client).await;
    assert_eq!(client.counters().connections_opened, 1);
    tokio::time::sleep(Duration::from_millis(80)).await;
    produce(&client).await;
    assert_eq!(client.counters().connections_opened, 2);
}

#[tokio::test]
async fn a_client_whose_brokers_are_all_gone_goes_back_to_its_bootstrap_list_or_not() {
    for (rebootstrap, found) in [(Rebootstrap::NoneAnswers, true), (Rebootstrap::Never, false)] {
        let cluster = fake::start(1).await;
        make_topic(&cluster, "t", &[0]);
        let behaviour = Profile::Hopwise.behaviour();
        let produce = Patience { retries: Some(3), ..behaviour.produce };
        let (client, mut records) = client(&cluster, Behaviour { rebootstrap, produce, ..behaviour });
        let real = locked(&cluster).advertised[&0].clone();
        let gone = fake::closed_port().await;
        locked(&cluster).advertised.insert(0, gone.clone());
        client.metadata().await.expect("the bootstrap address answers");
        locked(&cluster).advertised.insert(0, real.clone());
        drain(&mut records);
        let sent = client.produce("t", 0, &[Record::new("key", "value")], Acks::All).await;
        assert_eq!(sent.is_ok(), found, "{rebootstrap}: {sent:?}");
        let asked: Vec<_> = drain(&mut records).into_iter().map(|record| record.address).collect();
        assert_eq!(asked[0], gone, "{rebootstrap}: the broker that is known comes first");
        assert_eq!(asked.contains(&real), found, "{rebootstrap}: {asked:?}");
    }
}

#[tokio::test]
async fn both_address_families_are_tried_within_the_time() {
    let cluster = fake::start(1).await;
    let port = locked(&cluster).advertised[&0].port;
    // Nothing listens on the address of the other family.
    let addresses = vec!["::1".parse().expect("valid"), "127.0.0.1".parse().expect("valid")];
    let options = Options {
        behaviour: Profile::FranzGo.behaviour(),
        names: Some(Arc::new(move |_| Some(Ok(addresses.clone())))),
        ..Options::new(vec![HostPort::new("seed", port)])
    };
    let client = Client::new(options).expect("it has a bootstrap address");
    assert_eq!(client.metadata().await.expect("one answers").id.as_deref(), Some("redpanda.fake"));
}
