//! Routes through a proxy: what the client learns of the server behind it.

mod network;

use std::net::SocketAddr;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpListener, TcpStream, connect_traced};
use hopwise_fabric::{
    Action, Device, Fabric, ProxyConfig, Route, Router, Stack, Targets, install, run_proxy,
};
use network::{address, echo, ip, link, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PROXY: &str = "10.0.0.9:80";
const INNER: &str = "10.0.0.10:80";
const SERVER: &str = "10.0.0.2:9092";
const CLOSED: &str = "10.0.0.2:1";

/// Hosts around one router.
fn star(names: &[(&str, &str)]) -> Vec<host::HostId> {
    let mut fabric = Fabric::new();
    let router = fabric.add("router", Device::Router(Router::new(vec![ip("10.0.0.254")])));
    let mut hosts = Vec::new();
    for (name, own) in names {
        let device = fabric.add(*name, Device::Host(Stack::new(vec![ip(own)])));
        let joined = fabric.connect(router, device, link(1_000));
        fabric.route(router, ip(own).into(), joined.first, None);
        let host = host::create(name);
        fabric.attach(host, device);
        hosts.push(host);
    }
    install(fabric);
    hosts
}

async fn proxy(at: &'static str, targets: Vec<SocketAddr>) {
    let listener = TcpListener::bind(address(at)).await.expect("listens");
    run_proxy(listener, Targets::new(targets), ProxyConfig::default()).await.expect("serves");
}

/// Sends through the outer proxy and reads the answer, if there is one.
async fn ask() -> Route {
    tokio::task::yield_now().await;
    let mut stream = connect_traced(address(PROXY)).await.expect("connects");
    stream.write_all(b"hello").await.expect("writes");
    let _ = stream.read_exact(&mut [0; 5]).await;
    stream.route().expect("traced")
}

/// The route of a client through one proxy, or through two.
fn route(outer: &'static [&'static str], inner: &'static [&'static str]) -> Route {
    run(1, move || async move {
        let names =
            [("client", "10.0.0.1"), ("server", "10.0.0.2"), ("outer", "10.0.0.9"), ("inner", "10.0.0.10")];
        let hosts = star(&names);
        let addresses = |texts: &[&str]| texts.iter().map(|text| address(text)).collect();
        host::spawn_on(hosts[1], echo(SERVER));
        host::spawn_on(hosts[2], proxy(PROXY, addresses(outer)));
        host::spawn_on(hosts[3], proxy(INNER, addresses(inner)));
        host::spawn_on(hosts[0], ask()).await.expect("runs")
    })
}

fn devices(route: &Route) -> Vec<(&str, Action)> {
    route.forward.iter().map(|hop| (&*hop.device, hop.action)).collect()
}

#[test]
fn the_route_of_a_proxied_connection_leads_to_the_server() {
    let route = route(&[CLOSED, SERVER], &[]);
    let there = [
        ("client", Action::Sent),
        ("router", Action::Forwarded),
        ("outer", Action::Proxied),
        ("outer", Action::Sent),
        ("router", Action::Forwarded),
        ("server", Action::Delivered),
    ];
    assert_eq!(devices(&route), there);
    assert_eq!(route.reached().map(|name| &**name), Some("server"));
    assert_eq!(route.source_seen().map(|seen| seen.ip()), Some(ip("10.0.0.9")));
    assert_eq!((route.hops(), route.forward_time().map(|span| span.as_nanos())), (3, Some(4_000)));
    let back: Vec<(&str, Action)> = route.reply.iter().map(|hop| (&*hop.device, hop.action)).collect();
    assert_eq!(back[2..4], [("outer", Action::Proxied), ("outer", Action::Sent)]);
    assert_eq!((back[0].0, back[5]), ("server", ("client", Action::Delivered)));
}

#[test]
fn proxies_in_a_row_and_a_target_that_refuses() {
    let proxied = |route: &Route| devices(route).iter().filter(|hop| hop.1 == Action::Proxied).count();
    let reached = route(&[INNER], &[SERVER]);
    assert_eq!((proxied(&reached), reached.reached().map(|name| &**name)), (2, Some("server")));
    let refused = route(&[CLOSED], &[]);
    assert_eq!((proxied(&refused), refused.reached()), (1, None));
    assert_eq!(devices(&refused).last(), Some(&("server", Action::Rejected)));
}

#[test]
fn an_untraced_client_stays_untraced() {
    run(1, || async {
        let hosts = star(&[("client", "10.0.0.1"), ("server", "10.0.0.2"), ("outer", "10.0.0.9")]);
        host::spawn_on(hosts[1], echo(SERVER));
        host::spawn_on(hosts[2], proxy(PROXY, vec![address(SERVER)]));
        let client = host::spawn_on(hosts[0], async {
            tokio::task::yield_now().await;
            let mut stream = TcpStream::connect(address(PROXY)).await.expect("connects");
            stream.write_all(b"hello").await.expect("writes");
            stream.read_exact(&mut [0; 5]).await.expect("reads");
            stream.route()
        });
        assert_eq!(client.await.expect("runs"), None);
    });
}
