//! Brokers and client on turmoil's sockets: which route ends how is the same there as on the fabric.
//!
//! Both networks have the same hosts by the same names, `redpanda-0` to `redpanda-2` and a client, and the same mistakes are
//! made in what a broker advertises.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hopwise::client::behaviour::Patience;
use hopwise::client::trial::{Answer, TrialOptions, try_kafka};
use hopwise::client::{Acks, Client, FetchOptions, HostPort, Options, Outcome, Record};
use hopwise::turmoil::{Brokers, KAFKA_PORT};
use hopwise_broker::{Broker, BrokerStatus};
use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::net::resolver::ResolverConfig;
use hopwise_fabric::{Device, DeviceId, Fabric, FabricWorld, LinkConfig, Router, Stack};
use turmoil_fs::Fs;

const BROKERS: usize = 3;
/// A broker that is wrong; the client bootstraps elsewhere.
const WRONG: usize = 2;

/// What the client saw: how the route to each advertised broker ended, and by the partition's leader whether records were
/// acknowledged. Why not is left out: it is what the last try met when time was up, which differs with the times of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    routes: BTreeMap<i32, (HostPort, Outcome)>,
    records: BTreeMap<i32, bool>,
}

/// Something to be wrong with the broker [`WRONG`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    NoSuchName,
    PortWithoutListener,
    AnotherBroker,
    /// Cut off once everybody is ready, and packets are lost without a word.
    Gone,
}

impl Mistake {
    fn brokers(self) -> Brokers {
        let brokers = Brokers::new(BROKERS).seed(7);
        let host = Brokers::host(WRONG);
        match self {
            Mistake::None | Mistake::Gone => brokers,
            Mistake::NoSuchName => brokers.advertise(WRONG, HostPort::new("redpanda-2.redpanda", KAFKA_PORT)),
            Mistake::PortWithoutListener => brokers.advertise(WRONG, HostPort::new(host, 31092)),
            Mistake::AnotherBroker => brokers.advertise(WRONG, HostPort::new(Brokers::host(1), KAFKA_PORT)),
        }
    }

    /// How the route to the wrong broker must end.
    fn outcome(self) -> Outcome {
        match self {
            Mistake::None => Outcome::Ok,
            Mistake::NoSuchName => Outcome::NameNotFound,
            Mistake::PortWithoutListener => Outcome::Refused,
            Mistake::AnotherBroker => Outcome::Ok,
            Mistake::Gone => Outcome::Timeout,
        }
    }
}

/// The client's program, the same on both networks; `cut` cuts [`WRONG`] off if the mistake is that.
async fn program(statuses: Vec<BrokerStatus>, cut: impl FnOnce()) -> Seen {
    for status in &statuses {
        status.wait_ready().await;
    }
    let bootstrap = vec![HostPort::new(Brokers::host(0), KAFKA_PORT)];
    let mut options = Options { seed: 3, ..Options::new(bootstrap) };
    options.behaviour.produce = Patience::within(Duration::from_secs(20));
    let client = Client::new(options).expect("there is a bootstrap list");
    client.create_topic("orders", 6, 3).await.expect("the topic is created");
    // Leaders are elected and spread.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cluster = client.metadata().await.expect("the bootstrap broker answers");
    cut();

    let mut routes = BTreeMap::new();
    for (id, broker) in &cluster.brokers {
        let trial = try_kafka(&broker.address, &TrialOptions::default()).await;
        if let Some(Answer::Kafka(answer)) = &trial.answer {
            assert_eq!(answer.cluster.brokers.len(), BROKERS, "the answer is the cluster's");
        }
        routes.insert(*id, (broker.address.clone(), trial.outcome));
    }
    let mut records = BTreeMap::new();
    for partition in 0..6 {
        let record = Record::new("key", format!("value {partition}"));
        let sent = client.produce("orders", partition, &[record], Acks::All).await;
        if sent.is_ok() {
            let read =
                client.fetch("orders", partition, 0, FetchOptions::default()).await.expect("it is read");
            assert_eq!(
                read.records[0].record.value.as_deref(),
                Some(format!("value {partition}").as_bytes())
            );
        }
        let leader = cluster.topics["orders"].partitions[&partition].leader.expect("has a leader");
        let by_leader = *records.entry(leader).or_insert(sent.is_ok());
        assert_eq!(by_leader, sent.is_ok(), "partitions of one leader fare alike: {sent:?}");
    }
    Seen { routes, records }
}

fn on_turmoil(mistake: Mistake) -> Seen {
    let mut simulation =
        turmoil::Builder::new().simulation_duration(Duration::from_secs(600)).rng_seed(1).build();
    let statuses = mistake.brokers().join(&mut simulation);
    let seen = Arc::new(Mutex::new(None));
    let result = seen.clone();
    simulation.client("client", async move {
        let cut = || {
            if mistake == Mistake::Gone {
                for other in ["client", "redpanda-0", "redpanda-1"] {
                    turmoil::hold(other, Brokers::host(WRONG));
                }
            }
        };
        *result.lock().expect("nobody panics with it") = Some(program(statuses, cut).await);
        Ok(())
    });
    simulation.run().unwrap_or_else(|error| panic!("{mistake:?}: {error}"));
    let seen = seen.lock().expect("nobody panics with it").take();
    seen.expect("the client ends")
}

fn on_the_fabric(mistake: Mistake) -> Seen {
    let seen = Simulation::new(1).run(FabricWorld, move || async move {
        let names: Vec<String> = (0..BROKERS).map(Brokers::host).chain(["client".to_owned()]).collect();
        let ip = |index: usize| IpAddr::V4(Ipv4Addr::new(192, 168, 0, index as u8 + 1));
        let hosts: BTreeMap<_, _> =
            names.iter().enumerate().map(|(index, name)| (name.clone(), vec![ip(index)])).collect();
        let mut fabric = Fabric::new();
        let middle =
            fabric.add("router", Device::Router(Router::new(vec![Ipv4Addr::new(192, 168, 255, 1).into()])));
        let mut places = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let device = fabric.add(name.clone(), Device::Host(Stack::new(vec![ip(index)])));
            let joined = fabric.connect(middle, device, LinkConfig::constant(Span::from_millis(1)));
            fabric.route(middle, ip(index).into(), joined.first, None);
            let resolver =
                ResolverConfig { nameservers: Vec::new(), hosts: hosts.clone(), ..ResolverConfig::default() };
            fabric.set_resolver(device, resolver);
            let own = host::create(name);
            fabric.attach(own, device);
            places.push((own, device));
        }
        hopwise_fabric::install(fabric);
        let brokers = mistake.brokers();
        let mut statuses = Vec::new();
        for (index, (own, _)) in places[..BROKERS].iter().enumerate() {
            let status = BrokerStatus::new();
            let volume = Fs::builder().seed(index as u64).build();
            let mut parameters = brokers.parameters(index, volume, status.clone(), 0);
            parameters.clock = Arc::new(hopwise_engine::clock::unix_ms);
            host::spawn_on(*own, async move {
                Broker::start(parameters).await.expect_err("a broker runs").to_string()
            });
            statuses.push(status);
        }
        let wrong: DeviceId = places[WRONG].1;
        let cut = move || {
            if mistake == Mistake::Gone {
                hopwise_fabric::with(|fabric| fabric.cut_off(wrong, true));
            }
        };
        host::spawn_on(places[BROKERS].0, program(statuses, cut)).await.expect("the client ends")
    });
    hopwise_fabric::uninstall();
    seen.unwrap_or_else(|error| panic!("{mistake:?}: {error}"))
}

/// Runs both and compares; tells what both saw.
fn both(mistake: Mistake) -> Seen {
    let (there, here) = (on_turmoil(mistake), on_the_fabric(mistake));
    assert_eq!(there.routes, here.routes, "{mistake:?}: on turmoil, and on the fabric");
    // Who leads may differ, since messages take other times; what becomes of records at one leader may not.
    for (leader, sent) in &there.records {
        if let Some(other) = here.records.get(leader) {
            assert_eq!(sent, other, "{mistake:?}: records at broker {leader}, on turmoil, and on the fabric");
        }
    }
    let outcomes: Vec<_> = there.routes.values().map(|(_, outcome)| *outcome).collect();
    let wrong = there.routes.keys().position(|id| usize::try_from(*id) == Ok(WRONG)).expect("is advertised");
    for (index, outcome) in outcomes.iter().enumerate() {
        let expected = if index == wrong { mistake.outcome() } else { Outcome::Ok };
        assert_eq!(*outcome, expected, "{mistake:?}: {there:#?}");
    }
    there
}

#[test]
fn sound_addresses_lead_to_their_brokers() {
    let seen = both(Mistake::None);
    assert!(seen.records.values().all(|acknowledged| *acknowledged), "{seen:#?}");
}

#[test]
fn a_name_that_does_not_exist_is_not_found() {
    both(Mistake::NoSuchName);
}

#[test]
fn a_port_without_a_listener_refuses() {
    both(Mistake::PortWithoutListener);
}

#[test]
fn the_address_of_another_broker_answers_but_does_not_lead() {
    both(Mistake::AnotherBroker);
}

#[test]
fn a_broker_behind_a_dead_link_does_not_answer_in_time() {
    both(Mistake::Gone);
}

#[test]
fn the_same_seed_gives_the_same_run_on_turmoil() {
    assert_eq!(on_turmoil(Mistake::None), on_turmoil(Mistake::None));
}

#[test]
fn a_broker_that_turmoil_bounces_keeps_what_it_acknowledged() {
    let mut simulation =
        turmoil::Builder::new().simulation_duration(Duration::from_secs(600)).rng_seed(1).build();
    let statuses = Brokers::new(1).seed(7).join(&mut simulation);
    let (told, bounced) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(false)));
    let (acknowledged, back) = (told.clone(), bounced.clone());
    simulation.client("client", async move {
        statuses[0].wait_ready().await;
        let bootstrap = vec![HostPort::new(Brokers::host(0), KAFKA_PORT)];
        let client = Client::new(Options::new(bootstrap)).expect("there is a bootstrap list");
        client.create_topic("orders", 1, 1).await.expect("the topic is created");
        for number in 0..20 {
            let record = Record::new("key", format!("value {number}"));
            client.produce("orders", 0, &[record], Acks::All).await.expect("it is acknowledged");
        }
        *acknowledged.lock().expect("nobody panics with it") = 20;
        while !*back.lock().expect("nobody panics with it") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let read = client.fetch("orders", 0, 0, FetchOptions::default()).await.expect("it is read");
        assert_eq!(read.records.len(), 20);
        Ok(())
    });
    while *told.lock().expect("nobody panics with it") < 20 {
        simulation.step().expect("the client goes on");
    }
    simulation.bounce(Brokers::host(0));
    *bounced.lock().expect("nobody panics with it") = true;
    simulation.run().expect("the client ends");
}
