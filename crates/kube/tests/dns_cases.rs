//! Cluster DNS against the cases of the DNS specification and CoreDNS's own tests.
//!
//! Runs when `HOPWISE_CASES` names a directory with `dns.json`; says so when it does not.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, Record, RecordType};
use hopwise_kube::dns::{
    Endpoint, Options, PodMode, Port, Service, ServiceKind, Slice, Transport, Upstream, UpstreamName, Zone,
    answer,
};
use serde_json::Value;

#[test]
fn replies_are_those_of_the_cases() {
    let Ok(folder) = std::env::var("HOPWISE_CASES") else {
        println!("skipped: HOPWISE_CASES is not set");
        return;
    };
    let text = std::fs::read_to_string(format!("{folder}/dns.json")).expect("dns.json");
    let file: Value = serde_json::from_str(&text).expect("dns.json is JSON");
    let cases = file["cases"].as_array().expect("cases");
    let mut failed = Vec::new();
    for case in cases {
        let fixture = &file["fixtures"][case["fixture"].as_str().expect("fixture")];
        let options = merged(&file["defaults"], &case["options"]);
        let reply = ask(&zone(fixture, &options), &case["query"]);
        if let Err(difference) = compare(&reply, &case["expect"]) {
            failed.push(format!("{}: {difference}", case["id"]));
        }
    }
    println!("{} of {} cases agree", cases.len() - failed.len(), cases.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn merged(defaults: &Value, options: &Value) -> Value {
    let mut merged = defaults.clone();
    for (key, value) in options.as_object().into_iter().flatten() {
        merged[key] = value.clone();
    }
    merged
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}

fn addresses(value: &Value) -> Vec<IpAddr> {
    texts(value).iter().map(|ip| ip.parse().expect("address")).collect()
}

fn ports(value: &Value) -> Vec<Port> {
    let port = |port: &Value| Port {
        name: text(&port[0]),
        protocol: text(&port[1]),
        number: u16::try_from(port[2].as_u64().expect("port")).expect("port"),
    };
    list(value).iter().map(port).collect()
}

fn zone(fixture: &Value, options: &Value) -> Zone {
    let domain = text(&fixture["zone"]);
    let reverse = texts(&fixture["reverse_zones"]).into_iter().chain(texts(&options["zones"]));
    let mut zone = Zone::new(
        Options {
            domain,
            reverse_zones: reverse.filter(|zone| zone.ends_with("arpa.")).collect(),
            reverse_fallthrough: false,
            ttl_s: u32::try_from(options["ttl"].as_u64().expect("ttl")).expect("ttl"),
            pods: match options["pods"].as_str() {
                Some("insecure") => PodMode::Insecure,
                Some("verified") => PodMode::Verified,
                _ => PodMode::Disabled,
            },
            namespaces: texts(&options["namespaces"]).into_iter().collect(),
            ignore_empty_service: options["ignore_empty_service"] == true,
            zonal: options["zonal"] == true,
            multicluster: (!list(&options["multicluster"]).is_empty()).then(|| text(&options["cluster_id"])),
            synced: options["synced"] == true,
            server_ips: addresses(&options["server_ips"]),
            serial: 1_499_347_823,
            ..Options::default()
        },
        Upstream::default(),
    );
    for (key, value) in fixture["upstream"].as_object().into_iter().flatten() {
        let name = key.split(' ').next().expect("name");
        let ip = text(value).split(' ').next().and_then(|ip| ip.parse().ok()).expect("address");
        zone.upstream
            .put(name, UpstreamName { addresses: vec![ip], truncated: text(value).contains("truncated") });
    }
    for pod in list(&fixture["pods"]) {
        zone.put_namespace(&text(&pod["namespace"]));
        zone.put_pod(
            &text(&pod["namespace"]),
            &text(&pod["name"]),
            &[text(&pod["ip"]).parse().expect("address")],
        );
    }
    for service in list(&fixture["services"]) {
        zone.put_namespace(&text(&service["ns"]));
        zone.put_service(service_of(service, fixture));
    }
    zone
}

fn service_of(service: &Value, fixture: &Value) -> Service {
    let name = format!("{}/{}", text(&service["ns"]), text(&service["name"]));
    let slices = list(&fixture["endpoints"]).iter().filter(|slice| text(&slice["svc"]) == name);
    Service {
        namespace: text(&service["ns"]),
        name: text(&service["name"]),
        kind: match service["type"].as_str() {
            Some("ClusterIP") => ServiceKind::ClusterIp(addresses(&service["ips"])),
            Some("ExternalName") => ServiceKind::ExternalName(text(&service["target"])),
            _ => ServiceKind::Headless,
        },
        ports: ports(&service["ports"]),
        slices: slices
            .map(|slice| Slice {
                ports: ports(&slice["ports"]),
                endpoints: list(&slice["addr"]).iter().map(endpoint).collect(),
            })
            .collect(),
    }
}

fn endpoint(value: &Value) -> Endpoint {
    Endpoint {
        ip: text(&value["ip"]).parse().expect("address"),
        hostname: value["hostname"].as_str().map(str::to_owned),
        pod: None,
        zone: value["zone"].as_str().map(str::to_owned),
        ready: value["ready"] != false,
    }
}

fn ask(zone: &Zone, query: &Value) -> Message {
    let kind = RecordType::from_str(query["type"].as_str().expect("type")).expect("type");
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(
        Name::from_ascii(query["name"].as_str().expect("name")).expect("name"),
        kind,
    ));
    let bytes = message.to_vec().expect("query");
    let reply = answer(zone, &bytes, Transport::Tcp, None).expect("a reply");
    Message::from_vec(&reply).expect("a DNS message")
}

fn compare(reply: &Message, expected: &Value) -> Result<(), String> {
    let code = format!("{:?}", reply.metadata.response_code).to_uppercase();
    if code != text(&expected["rcode"]) {
        return Err(format!("{code} instead of {}", expected["rcode"]));
    }
    for (records, section) in [(&reply.answers, "answer"), (&reply.additionals, "additional")] {
        let got: BTreeSet<String> = records.iter().map(|record| line(record, None)).collect();
        let mut wanted = BTreeSet::new();
        for record in list(&expected[section]) {
            let (name, kind, data) = (text(&record["name"]), text(&record["type"]), text(&record["data"]));
            let ttl = record["ttl"].as_u64().map(|ttl| ttl.to_string());
            let own = records.iter().find(|r| line(r, None).ends_with(&data)).map(|r| r.ttl.to_string());
            wanted.insert(format!("{name} {} {kind} {data}", ttl.or(own).unwrap_or_default()));
        }
        if got != wanted || records.len() != wanted.len() {
            return Err(format!("{section} {got:?} instead of {wanted:?}"));
        }
    }
    let alias = reply.answers.iter().position(|record| record.record_type() == RecordType::CNAME);
    if alias.is_some_and(|alias| alias != 0) {
        return Err("an alias comes after its target".to_owned());
    }
    let soa =
        reply.authorities.first().map(|soa| (soa.name.to_ascii(), soa.record_type(), u64::from(soa.ttl)));
    match (&soa, expected["authority"].as_object()) {
        (None, None) => {}
        (Some((owner, RecordType::SOA, ttl)), Some(wanted))
            if *owner == text(&wanted["owner"])
                && wanted["ttl"].as_u64().is_none_or(|wanted| wanted == *ttl) => {}
        _ => return Err(format!("authority {soa:?} instead of {}", expected["authority"])),
    }
    if reply.metadata.truncation != (expected["truncated"] == true) {
        return Err("the truncation bit".to_owned());
    }
    Ok(())
}

fn line(record: &Record, ttl: Option<u32>) -> String {
    let data = record.data.to_string();
    format!("{} {} {} {data}", record.name.to_ascii(), ttl.unwrap_or(record.ttl), record.record_type())
}
