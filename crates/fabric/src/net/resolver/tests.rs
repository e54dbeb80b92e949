//! Look-ups against scripted servers.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::CNAME;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hopwise_engine::{Span, Time};

use super::*;

const POD: &str =
    "nameserver 10.96.0.10\nsearch rp.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

/// How a scripted server treats a query.
enum Script {
    Code(ResponseCode),
    Addresses(Vec<IpAddr>),
    Silence,
    Refused,
}

fn config(text: &str) -> Arc<ResolverConfig> {
    Arc::new(ResolverConfig::parse(text).unwrap())
}

fn v4(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

/// Runs a look-up; returns its result, the time it took, and the look-up for its trace.
fn run(
    mut lookup: Lookup,
    serve: impl Fn(&str, RecordType, IpAddr) -> Script,
) -> (Result<Vec<IpAddr>, LookupError>, Span, Lookup) {
    let start = Time::ZERO;
    let mut now = start;
    loop {
        match lookup.next(now) {
            Step::Finished(result) => {
                return (result, Span::from_nanos(now.as_nanos() - start.as_nanos()), lookup);
            }
            Step::Wait { until } => now = until,
            Step::Send { server, transport, message } => {
                let query = Message::from_vec(&message).unwrap();
                let (name, kind) = (query.queries[0].name().clone(), query.queries[0].query_type());
                let mut reply = Message::response(query.metadata.id, OpCode::Query);
                reply.add_queries(query.queries.iter().cloned());
                match serve(&name.to_ascii(), kind, server) {
                    Script::Silence => continue,
                    Script::Refused => {
                        lookup.unreachable(server, transport);
                        continue;
                    }
                    Script::Code(code) => reply.metadata.response_code = code,
                    Script::Addresses(ips) => {
                        for ip in ips {
                            if let (IpAddr::V4(ip), RecordType::A) = (ip, kind) {
                                reply.add_answer(Record::from_rdata(name.clone(), 5, RData::A(ip.into())));
                            }
                        }
                    }
                }
                lookup.reply(server, transport, &reply.to_vec().unwrap());
            }
        }
    }
}

fn names(lookup: &Lookup) -> Vec<String> {
    let mut names: Vec<String> = lookup.trace().iter().map(|query| query.name.clone()).collect();
    names.dedup();
    names
}

#[test]
fn short_names_walk_the_search_list() {
    let lookup = Lookup::new(config(POD), "redpanda.rp", 1);
    let (result, elapsed, lookup) = run(lookup, |name, _, _| match name {
        "redpanda.rp.svc.cluster.local." => Script::Addresses(vec![v4(7)]),
        _ => Script::Code(ResponseCode::NXDomain),
    });
    assert_eq!((result, elapsed), (Ok(vec![v4(7)]), Span::ZERO));
    assert_eq!(names(&lookup), ["redpanda.rp.rp.svc.cluster.local.", "redpanda.rp.svc.cluster.local."]);
    assert_eq!(lookup.trace().len(), 4);
}

#[test]
fn silence_costs_each_attempt_and_then_the_name_as_it_is() {
    let (result, elapsed, lookup) = run(Lookup::new(config(POD), "redpanda", 1), |_, _, _| Script::Silence);
    assert_eq!(result, Err(LookupError::TimedOut("redpanda".to_owned())));
    assert_eq!(elapsed, Span::from_secs(20));
    assert_eq!(names(&lookup), ["redpanda.rp.svc.cluster.local.", "redpanda."]);
    assert!(lookup.trace().iter().all(|query| query.outcome == Some(QueryOutcome::TimedOut)));
}

#[test]
fn a_failing_server_is_passed_over_at_once() {
    let text = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";
    for failing in [|| Script::Code(ResponseCode::ServFail), || Script::Refused] {
        let (result, elapsed, _) = run(Lookup::new(config(text), "a.b", 1), |_, _, server| {
            if server == v4(1) { failing() } else { Script::Addresses(vec![v4(9)]) }
        });
        assert_eq!((result, elapsed), (Ok(vec![v4(9)]), Span::ZERO));
    }
    let (result, _, lookup) =
        run(Lookup::new(config(text), "a.b", 1), |_, _, _| Script::Code(ResponseCode::ServFail));
    assert_eq!(result, Err(LookupError::ServerFailure("a.b".to_owned())));
    assert_eq!(lookup.trace().len(), 8);
}

#[test]
fn one_silent_server_costs_five_seconds() {
    let text = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";
    let (result, elapsed, _) = run(Lookup::new(config(text), "a.b", 1), |_, _, server| {
        if server == v4(1) { Script::Silence } else { Script::Addresses(vec![v4(9)]) }
    });
    assert_eq!((result, elapsed), (Ok(vec![v4(9)]), Span::from_secs(5)));
}

#[test]
fn a_name_without_records_is_not_found() {
    let (result, _, lookup) = run(Lookup::new(config(POD), "x.", 1), |_, _, _| Script::Addresses(Vec::new()));
    assert_eq!(result, Err(LookupError::NotFound("x.".to_owned())));
    assert_eq!(names(&lookup), ["x."]);
}

#[test]
fn numbers_and_the_host_file_need_no_server() {
    let mut config = ResolverConfig::parse(POD).unwrap();
    config.hosts = parse_hosts("127.0.0.1 localhost # loopback\n10.0.0.5 Broker broker.local\n").unwrap();
    let config = Arc::new(config);
    for (host, ip) in [
        ("10.0.0.3", "10.0.0.3"),
        ("fd00::1", "fd00::1"),
        ("localhost", "127.0.0.1"),
        ("BROKER.", "10.0.0.5"),
    ] {
        let step = Lookup::new(config.clone(), host, 1).next(Time::ZERO);
        assert_eq!(step, Step::Finished(Ok(vec![ip.parse().unwrap()])), "{host}");
    }
}

#[test]
fn a_cut_reply_is_asked_again_over_tcp_and_aliases_are_followed() {
    let mut lookup = Lookup::with_types(config(POD), "a.b.c.d.e.f", &[RecordType::A], 1);
    let Step::Send { transport: Transport::Udp, message, server } = lookup.next(Time::ZERO) else {
        panic!("no query")
    };
    let query = Message::from_vec(&message).unwrap();
    let mut cut = Message::response(query.metadata.id, OpCode::Query);
    cut.add_queries(query.queries.iter().cloned());
    cut.metadata.truncation = true;
    lookup.reply(server, Transport::Udp, &cut.to_vec().unwrap());
    let Step::Send { transport, .. } = lookup.next(Time::ZERO) else { panic!("no second query") };
    assert_eq!(transport, Transport::Tcp);
    cut.metadata.truncation = false;
    let target = Name::from_str("target.example.").unwrap();
    cut.add_answer(Record::from_rdata(
        query.queries[0].name().clone(),
        5,
        RData::CNAME(CNAME(target.clone())),
    ));
    cut.add_answer(Record::from_rdata(target, 5, RData::A(Ipv4Addr::new(10, 0, 0, 8).into())));
    lookup.reply(server, Transport::Udp, b"noise");
    lookup.reply(server, Transport::Tcp, &cut.to_vec().unwrap());
    assert_eq!(lookup.next(Time::ZERO), Step::Finished(Ok(vec![v4(8)])));
}

#[test]
fn lines_that_cannot_be_right_are_named() {
    for (text, line) in [("nameserver x", 1), ("search a\nnameservers 1.1.1.1", 2), ("options ndots:many", 1)]
    {
        assert_eq!(ResolverConfig::parse(text).map_err(|error| error.line), Err(line), "{text}");
    }
    assert_eq!(parse_hosts("\nlocalhost 127.0.0.1").map_err(|error| error.line), Err(2));
    assert_eq!(config("options ndots:99 attempts:9 timeout:99 rotate").ndots, 15);
}

fn of_kind(text: &str, kind: ResolverKind) -> Arc<ResolverConfig> {
    Arc::new(ResolverConfig { kind, ..ResolverConfig::parse(text).unwrap() })
}

#[test]
fn after_nodata_glibc_and_go_search_on_and_musl_stops() {
    for (kind, asked) in [(ResolverKind::Glibc, 4), (ResolverKind::Go, 4), (ResolverKind::Musl, 1)] {
        let (result, _, lookup) =
            run(Lookup::new(of_kind(POD, kind), "x", 1), |_, _, _| Script::Addresses(Vec::new()));
        assert_eq!(result, Err(LookupError::NotFound("x".to_owned())), "{kind}");
        assert_eq!(names(&lookup).len(), asked, "{kind}");
    }
}

#[test]
fn a_name_with_enough_dots_has_no_search_list_for_musl() {
    for (kind, asked) in [(ResolverKind::Glibc, 4), (ResolverKind::Musl, 1)] {
        let (_, _, lookup) = run(Lookup::new(of_kind(POD, kind), "a.b.c.d.e.f", 1), |_, _, _| {
            Script::Code(ResponseCode::NXDomain)
        });
        assert_eq!(names(&lookup).len(), asked, "{kind}");
    }
}

#[test]
fn musl_asks_all_servers_at_once_and_is_deaf_to_refusals() {
    let text = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";
    let one_silent = |_: &str, kind, server| match (server == v4(1), kind) {
        (true, _) => Script::Silence,
        (false, RecordType::A) => Script::Addresses(vec![v4(9)]),
        (false, _) => Script::Addresses(Vec::new()),
    };
    let lookup = Lookup::new(of_kind(text, ResolverKind::Musl), "a.b", 1);
    let (result, elapsed, lookup) = run(lookup, one_silent);
    assert_eq!((result, elapsed, lookup.trace().len()), (Ok(vec![v4(9)]), Span::ZERO, 4));
    let lookup = Lookup::new(of_kind(text, ResolverKind::Musl), "a.b", 1);
    let (result, elapsed, lookup) = run(lookup, |_, _, _| Script::Refused);
    assert_eq!(result, Err(LookupError::TimedOut("a.b".to_owned())));
    // Two attempts within 5 s, each to both servers for both types.
    assert_eq!((elapsed, lookup.trace().len()), (Span::from_secs(5), 8));
}

#[test]
fn a_failure_of_one_family_fails_musls_look_up_but_not_glibcs() {
    let serve = |_: &str, kind, _| match kind {
        RecordType::A => Script::Addresses(vec![v4(9)]),
        _ => Script::Code(ResponseCode::ServFail),
    };
    let text = "nameserver 10.0.0.1\n";
    let (found, elapsed, _) = run(Lookup::new(of_kind(text, ResolverKind::Glibc), "a.b", 1), serve);
    assert_eq!((found, elapsed), (Ok(vec![v4(9)]), Span::ZERO));
    let (failed, elapsed, lookup) = run(Lookup::new(of_kind(text, ResolverKind::Musl), "a.b", 1), serve);
    assert_eq!((failed, elapsed), (Err(LookupError::ServerFailure("a.b".to_owned())), Span::from_secs(5)));
    // One query for A; for AAAA the first, two at once after it, and one at half time.
    assert_eq!(lookup.trace().len(), 5);
}

#[test]
fn refusals_end_glibcs_search_and_not_gos() {
    for (kind, asked) in [(ResolverKind::Glibc, 1), (ResolverKind::Go, 4)] {
        let (result, elapsed, lookup) =
            run(Lookup::new(of_kind(POD, kind), "x", 1), |_, _, _| Script::Refused);
        assert_eq!(result, Err(LookupError::ServerFailure("x".to_owned())), "{kind}");
        assert_eq!((names(&lookup).len(), elapsed), (asked, Span::ZERO), "{kind}");
    }
}

#[test]
fn options_choose_tcp_and_one_query_at_a_time() {
    let tcp = Lookup::new(config("nameserver 10.0.0.1\noptions use-vc\n"), "a.b", 1).next(Time::ZERO);
    assert!(matches!(tcp, Step::Send { transport: Transport::Tcp, .. }));
    let mut lookup = Lookup::new(config("nameserver 10.0.0.1\noptions single-request\n"), "a.b", 1);
    assert!(matches!(lookup.next(Time::ZERO), Step::Send { .. }));
    assert!(matches!(lookup.next(Time::ZERO), Step::Wait { .. }));
    let (result, elapsed, lookup) = run(lookup, |_, _, _| Script::Addresses(vec![v4(9)]));
    // The first query of this look-up was never answered: it is sent again after 5 s, then the second goes.
    assert_eq!((result, elapsed, lookup.trace().len()), (Ok(vec![v4(9)]), Span::from_secs(5), 3));
}

#[test]
fn gos_queries_say_how_much_they_take() {
    let lookup = Lookup::new(of_kind("nameserver 10.0.0.1\n", ResolverKind::Go), "a.b", 1).next(Time::ZERO);
    let Step::Send { message, .. } = lookup else { panic!("no query") };
    let query = Message::from_vec(&message).unwrap();
    assert_eq!(query.edns.map(|edns| edns.max_payload()), Some(1232));
}
