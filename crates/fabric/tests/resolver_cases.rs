//! The stub resolver against the cases of resolv.conf(5) and CoreDNS's tests.
//!
//! Runs when `HOPWISE_CASES` names a directory with `resolver.json`; says so when it does not.

use std::sync::Arc;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use hopwise_engine::Time;
use hopwise_fabric::net::resolver::{Lookup, ResolverConfig, Step};
use serde_json::Value;

#[test]
fn queries_follow_the_cases() {
    let Ok(folder) = std::env::var("HOPWISE_CASES") else {
        println!("skipped: HOPWISE_CASES is not set");
        return;
    };
    let text = std::fs::read_to_string(format!("{folder}/resolver.json")).expect("resolver.json");
    let file: Value = serde_json::from_str(&text).expect("resolver.json is JSON");
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        let all = texts(&case["queries_if_all_fail"]);
        assert_eq!(asked(case, None), all, "{}", case["id"]);
        let until_hit = texts(&case["queries_until_hit"]);
        if let Some(hit) = until_hit.last() {
            assert_eq!(asked(case, Some(hit)), until_hit, "{}", case["id"]);
        }
    }
    println!("{} cases agree", cases.len());
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().expect("text").to_owned()).collect()
}

/// The names asked when only `hit` exists.
fn asked(case: &Value, hit: Option<&String>) -> Vec<String> {
    let conf = &case["resolv_conf"];
    let namespace = case["pod_namespace"].as_str().expect("pod_namespace");
    let pod = [
        format!("{namespace}.svc.cluster.local"),
        "svc.cluster.local".to_owned(),
        "cluster.local".to_owned(),
    ];
    let search = if conf.is_null() { pod.to_vec() } else { texts(&conf["search"]) };
    let ndots = conf["ndots"].as_u64().unwrap_or(5);
    let text = format!("nameserver 10.96.0.10\nsearch {}\noptions ndots:{ndots}\n", search.join(" "));
    let config = Arc::new(ResolverConfig::parse(&text).expect("resolv.conf"));
    let mut lookup = Lookup::new(config, case["name"].as_str().expect("name"), 1);
    let mut names = Vec::new();
    loop {
        match lookup.next(Time::ZERO) {
            Step::Finished(result) => {
                assert_eq!(result.is_ok(), hit.is_some());
                assert_eq!(lookup.trace().len(), names.len());
                names.dedup();
                return names;
            }
            Step::Wait { .. } => panic!("nothing to wait for"),
            Step::Send { transport, message, .. } => {
                let query = Message::from_vec(&message).expect("query");
                let question = query.queries[0].clone();
                let name = question.name().to_ascii();
                let mut reply = Message::response(query.metadata.id, OpCode::Query);
                reply.add_query(question.clone());
                if Some(&name) != hit {
                    reply.metadata.response_code = ResponseCode::NXDomain;
                } else if question.query_type() == RecordType::A {
                    let ip = std::net::Ipv4Addr::new(10, 0, 0, 1);
                    reply.add_answer(Record::from_rdata(question.name().clone(), 5, RData::A(ip.into())));
                }
                lookup.reply(transport, &reply.to_vec().expect("reply"));
                names.push(name);
            }
        }
    }
}
