//! An entry of `scenarios/catalogue` for each code that has one: what is broken beside what is sound.
//!
//! The texts are those of the entry's twins when hopwise was built. A test of the whole (`tests/catalogue.rs`) sees that
//! the entry expects the code, and that no code with an entry lacks its example.

use super::Code;

/// An entry of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// The name of its folder.
    pub entry: &'static str,
    /// What is broken: manifests, a cluster file or a scenario.
    pub broken: &'static str,
    /// The same, sound.
    pub healthy: &'static str,
}

impl Example {
    /// The entry's folder, from the root of the repository.
    pub fn path(&self) -> String {
        format!("scenarios/catalogue/{}", self.entry)
    }

    /// The lines that differ: those of the broken twin with `-` before them, those of the healthy one with `+`.
    pub fn difference(&self) -> String {
        let mut out = String::new();
        let differ = similar::TextDiff::from_lines(self.broken, self.healthy);
        for group in differ.grouped_ops(2) {
            if !out.is_empty() {
                out.push_str("  ...\n");
            }
            for change in group.iter().flat_map(|op| differ.iter_changes(op)) {
                out.push_str(&format!("{} {}", change.tag(), change.value().trim_end_matches('\n')));
                out.push('\n');
            }
        }
        out
    }
}

macro_rules! examples {
    ($($code:ident $entry:literal $kind:ident)*) => {
        impl Code {
            /// An entry of the catalogue that has this finding.
            pub fn example(self) -> Option<Example> {
                match self {
                    $(Code::$code => Some(examples!(@$kind $entry)),)*
                    _ => None,
                }
            }
        }
    };
    (@twins $entry:literal) => { examples!(@files $entry, "broken.yaml", "healthy.yaml") };
    (@cluster $entry:literal) => { examples!(@files $entry, "broken-cluster.yaml", "healthy-cluster.yaml") };
    (@files $entry:literal, $broken:literal, $healthy:literal) => {
        Example { entry: $entry, broken: examples!(@text $entry, $broken), healthy: examples!(@text $entry, $healthy) }
    };
    (@text $entry:literal, $file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/catalogue/", $entry, "/", $file))
    };
}

examples! {
    BarePodNameAdvertised "redpanda-1864-bare-pod-name" twins
    DomainAppendedToAddress "chart-domain-appended-to-address" twins
    EmptyAdvertisedAddress "bitnami-charts-5975-empty-host" twins
    NodeWithoutEndpoint "kubernetes-66354-node-without-broker" cluster
    PortNotOpened "helm-charts-660-port-per-ordinal" twins
    NodePortOutOfRange "redpanda-13347-node-port-out-of-range" twins
    LoadBalancerPortMismatch "chart-load-balancer-without-advertised-ports" twins
    SharedAdvertisedAddress "helm-charts-258-first-address-for-all" twins
    FewerAddressesThanReplicas "redpanda-operator-65-fewer-addresses" twins
    AddressOfAnotherBroker "helm-charts-468-wrong-order" twins
    PrefixTemplateUnused "chart-prefix-template-unused" twins
    CertificateNameMismatch "helm-charts-269-certificate-without-external-name" twins
    BrokersShareNode "chart-soft-anti-affinity" twins
    NoDrainBeforeStop "chart-two-replicas-do-not-drain" twins
    ListenerNotExposed "chart-external-disabled-listener-left" twins
    AdvertisedListenersDiffer "chart-disabled-listener-still-advertised" twins
    SeedServerUnknown "chart-service-renamed" twins
    SelectorMatchesOthers "redpanda-chart-job-behind-the-brokers-service" twins
    FewerNodesThanReplicas "redpanda-docs-fewer-nodes-than-brokers" cluster
    HeadlessHidesNotReady "nats-k8s-441-peers-hide-from-each-other" twins
    TrailingDotWithTls "redpanda-operator-400-trailing-dot-with-tls" twins
    ListenersShareNumber "redpanda-3158-two-listeners-on-a-port" twins
    TargetsInternalListener "helm-charts-1113-load-balancer-to-internal-port" twins
    DnsRecordMismatch "helm-charts-1470-dns-record-of-another-name" twins
    InternalAddressOutside "bitnami-charts-3154-port-forward" twins
    PortFilteredOnTheWay "redpanda-10261-filter-closes-the-node-port" twins
    AddressLeadsNowhere "redpanda-docs-dns-points-elsewhere" cluster
    BrokerNotRunning "redpanda-operator-1222-certificate-not-mounted" twins
    IdleFlowsForgotten "librdkafka-3289-idle-flow-dropped-by-azure" cluster
    InClusterByNodePort "kubernetes-local-policy-and-pods" twins
    Hairpin "cloud-provider-aws-1160-hairpin" twins
    InternalListenerMissing "helm-charts-stable-6670-no-internal-listener" twins
    AddressNotInCertificate "helm-charts-198-certificate-without-address" twins
    UnknownAuthority "redpanda-docs-unknown-authority" twins
    TlsPort "redpanda-docs-plain-client-on-tls-port" twins
    CredentialsMissing "redpanda-docs-sasl-is-missing" twins
    CertificateNotLoaded "redpanda-operator-1222-certificate-not-mounted" twins
    OtherClusterDomain "helm-charts-313-other-cluster-domain" cluster
    AdminRedirectsInside "redpanda-2865-admin-redirects-inside" twins
    GhostBroker "redpanda-13133-broker-without-its-volume" twins
    IdIsNotOrdinal "redpanda-11303-id-is-no-ordinal" twins
    GraceTooShort "helm-charts-376-grace-shorter-than-hook" twins
    ServiceCannotReachBrokers "helm-charts-1573-proxy-does-not-trust-brokers" twins
    LoopbackAdvertised "redpanda-k8s-blog-loopback-with-nftables" cluster
    BalancerKeepsTarget "kubernetes-73362-load-balancer-keeps-old-node" twins
    MaintenanceSlotTaken "redpanda-operator-1674-maintenance-slot-of-a-dead-broker" twins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_shows_the_lines_that_matter() {
        let difference = Code::BarePodNameAdvertised.example().expect("it has one").difference();
        let marked: Vec<&str> = difference.lines().filter(|line| line.starts_with(['-', '+'])).collect();
        assert_eq!(marked.len(), 2, "{difference}");
        assert!(marked[0].contains(r#"${POD_NAME}\""#), "{difference}");
        assert!(marked[1].contains(r#"${POD_NAME}.kafka.example.com\""#), "{difference}");
    }
}
