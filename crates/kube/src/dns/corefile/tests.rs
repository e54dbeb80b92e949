//! Corefiles as people write them.

use super::*;
use crate::dns::zone::PodMode;

const KUBEADM: &str = "
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

#[test]
fn kubeadms_file_is_the_default() {
    let read = Corefile::parse(KUBEADM).expect("parses");
    assert_eq!(format!("{read:?}"), format!("{:?}", Corefile::kubeadm("cluster.local")));
}

#[test]
fn what_changes_answers_is_read_and_the_rest_is_named() {
    let text = "
example.com:53 {  # the company's own names
    hosts {
        192.0.2.1 broker.example.com
        fallthrough
    }
    forward . 10.0.0.2
}
. {
    rewrite name suffix .old.example .demo.svc.cluster.local answer auto
    rewrite stop name exact a.example b.example
    kubernetes cluster.local {
        pods verified
        namespaces demo
        endpoint_pod_names
        ignore empty_service
        fallthrough
    }
    autopath @kubernetes
    template ANY ANY
    cache {
        success 100 60 10
        denial 50
        servfail 1m
    }
}
.:5353 {
    whoami
}
";
    let read = Corefile::parse(text).expect("parses");
    assert_eq!(read.blocks.len(), 2);
    assert_eq!((read.kubernetes.ttl_s, read.kubernetes.pods), (5, PodMode::Verified));
    assert_eq!(read.kubernetes.fallthrough, ["."]);
    assert!(
        read.kubernetes.ignore_empty_service && read.kubernetes.endpoint_pod_names && read.blocks[1].autopath
    );
    let cache = read.blocks[1].cache.as_ref().expect("a cache");
    assert_eq!((cache.success.capacity, cache.success.ttl_max_s, cache.success.ttl_min_s), (100, 60, 10));
    assert_eq!((cache.denial.capacity, cache.denial.ttl_max_s, cache.server_failure_s), (50, 1800, 60));
    let ignored: Vec<String> = read.ignored.iter().map(|it| format!("{} {}", it.line, it.what)).collect();
    assert_eq!(ignored, ["7 forward . 10.0.0.2", "20 template ANY ANY", "27 .:5353"]);
}

#[test]
fn what_coredns_would_not_start_with_is_an_error() {
    for (text, line) in [
        (". {\n kubernetes {\n ttl many\n }\n}", 3),
        (". {\n errors\n", 1),
        (". {\n}\n}", 3),
        (". {\n kubernetes {\n pods maybe\n }\n}", 3),
        (". {\n hosts {\n broker 10.0.0.1\n }\n}", 3),
    ] {
        assert_eq!(Corefile::parse(text).map_err(|error| error.line).err(), Some(line), "{text}");
    }
}
