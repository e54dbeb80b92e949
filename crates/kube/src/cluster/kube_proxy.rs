//! Each node's kube-proxy: learns of Services and slices in its own time, and writes the node's rules.
//!
//! It writes at most once per second, and when in the second is drawn for each kube-proxy: after a change nodes
//! disagree for up to that long (kubernetes.md 6.7 and 7, point 21). When it ends, the rules stay as they are; when it
//! starts, it writes all of them anew.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::Time;
use hopwise_fabric::DeviceId;
use k8s_openapi::api::core::v1::Node;
use rand::RngExt;

use super::api::Api;
use super::health_server::HealthServers;
use super::timing;
use super::topology::linux_node;
use super::watches::{Changes, Watch};
use crate::proxy::{NodeFacts, Proxy, ProxyInput, ServiceName};
use crate::store::{Action, Change, Kind, Object, Store};

const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice, Kind::Node];

/// How much longer than usual a kube-proxy takes to write rules.
pub type ExtraLag = Rc<Cell<Duration>>;

/// Runs the kube-proxy of one node, on a host that uses the node's sockets.
pub async fn run(api: Api, facts: NodeFacts, device: DeviceId, extra_lag: ExtraLag) {
    let syncs = Syncs::of(&facts.name, extra_lag);
    let mut servers = HealthServers::start(&facts.addresses);
    let mut watch = api.watch(KINDS);
    // What changed before the first sync is part of it.
    let _ = watch.next(timing::PROXY_LAG).await;
    let mut proxy = Proxy::new(facts);
    write_everything(&api, &mut proxy, device, &mut servers);
    loop {
        let first = watch.next(timing::PROXY_LAG).await;
        let Some(news) = News::of(first, &proxy) else { continue };
        news.tell(&api, &proxy, &mut servers);
        if !news.asks_for_sync() {
            continue;
        }
        servers.health().queued(hopwise_engine::now());
        let news = syncs.wait(news, &mut watch, &proxy).await;
        news.tell(&api, &proxy, &mut servers);
        if news.everything {
            write_everything(&api, &mut proxy, device, &mut servers);
        } else {
            let change = proxy.apply(news.inputs);
            hopwise_fabric::with(|fabric| change.carry_out(linux_node(fabric, device), proxy.node().mode));
            synced(&proxy, &mut servers);
        }
    }
}

/// When a kube-proxy writes.
struct Syncs {
    /// The moment in each period.
    phase: Duration,
    extra_lag: ExtraLag,
}

impl Syncs {
    fn of(node: &str, extra_lag: ExtraLag) -> Syncs {
        let period = timing::PROXY_SYNC_PERIOD.as_nanos() as u64;
        let phase = hopwise_engine::stream(&format!("kube-proxy/{node}")).random_range(0..period);
        Syncs { phase: Duration::from_nanos(phase), extra_lag }
    }

    /// Waits for the next sync; what changes meanwhile is part of it.
    async fn wait(&self, mut news: News, watch: &mut Watch, proxy: &Proxy) -> News {
        let wait = tokio::time::sleep(self.until_next(hopwise_engine::now()) + self.extra_lag.get());
        tokio::pin!(wait);
        loop {
            tokio::select! {
                biased;
                changes = watch.next(Duration::ZERO) => {
                    if let Some(more) = News::of(changes, proxy) {
                        news.add(more);
                    }
                }
                () = &mut wait => return news,
            }
        }
    }

    fn until_next(&self, now: Time) -> Duration {
        let period = timing::PROXY_SYNC_PERIOD.as_nanos();
        let into = Duration::from(now - Time::ZERO).as_nanos() % period;
        let wait = (self.phase.as_nanos() + period - into) % period;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
    }
}

/// What a watch has told a kube-proxy.
#[derive(Default)]
struct News {
    inputs: Vec<ProxyInput>,
    own_node: bool,
    everything: bool,
}

impl News {
    /// `None` if it concerns this kube-proxy in nothing.
    fn of(changes: Changes, proxy: &Proxy) -> Option<News> {
        let changes = match changes {
            Changes::All => return Some(News { own_node: true, everything: true, ..News::default() }),
            Changes::Some(changes) => changes,
        };
        let mut news = News::default();
        for Change { key, action, object, .. } in changes {
            news.own_node |= key.kind == Kind::Node && key.name == proxy.node().name;
            news.inputs.extend(input_of(action, object));
        }
        (news.own_node || news.asks_for_sync()).then_some(news)
    }

    fn add(&mut self, more: News) {
        self.inputs.extend(more.inputs);
        self.own_node |= more.own_node;
        self.everything |= more.everything;
    }

    fn asks_for_sync(&self) -> bool {
        self.everything || !self.inputs.is_empty()
    }

    /// Health endpoints learn of the Node at once.
    fn tell(&self, api: &Api, proxy: &Proxy, servers: &mut HealthServers) {
        if self.own_node {
            tell_node(api, proxy, servers);
        }
    }
}

fn tell_node(api: &Api, proxy: &Proxy, servers: &mut HealthServers) {
    api.read(|store| {
        servers.health().set_node(store.get::<Node>("", &proxy.node().name).map(|node| &**node))
    });
}

fn write_everything(api: &Api, proxy: &mut Proxy, device: DeviceId, servers: &mut HealthServers) {
    *proxy = Proxy::new(proxy.node().clone());
    let change = proxy.apply(api.read(everything));
    hopwise_fabric::with(|fabric| {
        let node = linux_node(fabric, device);
        proxy.install(node);
        node.conntrack_mut().delete_where(|flow| change.stale.covers(flow));
    });
    tell_node(api, proxy, servers);
    synced(proxy, servers);
}

fn synced(proxy: &Proxy, servers: &mut HealthServers) {
    servers.health().follow(proxy.health_checks());
    servers.health().synced();
    servers.follow();
}

fn input_of(action: Action, object: Object) -> Option<ProxyInput> {
    match (action, object) {
        (Action::Deleted, Object::Service(service)) => {
            Some(ProxyInput::ServiceGone(ServiceName::of(&service)))
        }
        (_, Object::Service(service)) => Some(ProxyInput::Service(service)),
        (Action::Deleted, Object::EndpointSlice(slice)) => {
            let name = slice.metadata.name.clone().unwrap_or_default();
            Some(ProxyInput::SliceGone { service: ServiceName::of_slice(&slice)?, slice: name })
        }
        (_, Object::EndpointSlice(slice)) => Some(ProxyInput::Slice(slice)),
        _ => None,
    }
}

fn everything(store: &Store) -> Vec<ProxyInput> {
    let services = store.list().cloned().map(ProxyInput::Service);
    services.chain(store.list().cloned().map(ProxyInput::Slice)).collect()
}
