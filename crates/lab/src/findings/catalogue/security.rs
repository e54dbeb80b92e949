//! TLS, certificates and credentials.

use super::{Code, Text, texts};

texts! {
    CertificateNameMismatch {
        sees: "x509: certificate is valid for ..., not for the advertised name; or \"no subject alternative names matching\".",
        why: "A client that checks the certificate refuses the connection, because the certificate holds neither the advertised name nor the advertised IP address. The chart's external certificate names only external.domain and one label below it; one of an issuer of one's own lacks the names inside.",
        tell: "openssl s_client -connect HOST:PORT | openssl x509 -noout -ext subjectAltName lists the names.",
        change: "Set external.domain so that it covers the advertised names, or bring a certificate that names them.",
        sources: ["docs/facts/redpanda.md 1.7 L11, 1.8, section 5 rows 20 and 22", "redpanda-data/helm-charts#269", "redpanda-data/helm-charts#829"],
    }
    TrailingDotWithTls {
        sees: "Java clients and clients behind Istio fail in the TLS handshake; others do not.",
        why: "Some clients put the name with its dot into the TLS handshake (SNI) or compare it with the certificate as it stands, and fail.",
        tell: "The broker list shows names that end in a dot.",
        change: "Advertise the name without the trailing dot on listeners with TLS.",
        sources: ["docs/facts/redpanda.md section 5 row 18", "redpanda-data/redpanda-operator#400"],
    }
    SecurityNotMeasured {
        sees: "Nothing.",
        why: "Not reported any more: routes are measured with TLS and credentials as the listeners are configured.",
        tell: "Nothing to tell.",
        change: "Nothing.",
        sources: ["docs/findings.md"],
    }
    TlsFailed {
        sees: "The TLS handshake fails.",
        why: "Client and broker do not agree on TLS: the certificate is not trusted, has expired, or does not name the host.",
        tell: "openssl s_client -connect HOST:PORT -CAfile ca.crt says why.",
        change: "Compare the certificate's names with the advertised host, and the client's trusted certificates with its issuer.",
        sources: ["docs/facts/redpanda.md section 5 row 50"],
    }
    AuthenticationFailed {
        sees: "SASL authentication failed, or the broker closes the connection.",
        why: "The listener asks for credentials that the client does not send, or that are wrong. Redpanda closes the connection.",
        tell: "rpk cluster info with the same user, password and mechanism fails in the same way.",
        change: "Give the client the listener's SASL mechanism, user and password.",
        sources: ["docs/facts/redpanda.md section 5 row 26"],
    }
    AddressNotInCertificate {
        sees: "x509: cannot validate certificate for 10.0.0.10 because it doesn't contain any IP SANs.",
        why: "Clients reach the listener by an IP address, and the certificate names hosts only. A client that checks the certificate ends the handshake. Certificates of the chart hold no IP addresses.",
        tell: "openssl x509 -noout -ext subjectAltName lists DNS entries only.",
        change: "Let clients dial a name that the certificate holds (a DNS record for the node or load balancer), or add the address to the Certificate's ipAddresses.",
        sources: ["docs/facts/redpanda.md 1.7 L11, 1.8, section 5 row 21", "redpanda-data/helm-charts#198"],
    }
    UnknownAuthority {
        sees: "x509: certificate signed by unknown authority.",
        why: "The authority that a client of the cluster has in hand (ca.crt beside the certificate) did not sign the certificate that the listener shows. The client ends the handshake.",
        tell: "openssl verify -CAfile ca.crt tls.crt fails.",
        change: "Put the authority that signed tls.crt into ca.crt and into the clients' trust stores; after an authority is replaced, issue the certificates again.",
        sources: ["docs/facts/redpanda.md section 5 row 50"],
    }
    CertificateNotValidNow {
        sees: "x509: certificate has expired or is not yet valid.",
        why: "The time lies outside the certificate's validity, so clients end the handshake.",
        tell: "openssl x509 -noout -dates.",
        change: "Renew the certificate; check the clocks if it is new.",
        sources: ["RFC 5280 section 4.1.2.5"],
    }
    ClientCertificateNeeded {
        sees: "The handshake ends with \"certificate required\" or \"bad certificate\".",
        why: "The listener has require_client_auth, and the client shows no certificate, or one that the listener's trust store does not accept. The broker ends the handshake.",
        tell: "redpanda.yaml has require_client_auth: true for the listener.",
        change: "Give clients a certificate that an authority of the listener's truststore_file has signed.",
        sources: ["docs/facts/redpanda.md 2.1"],
    }
    CredentialsMissing {
        sees: "\"broker closed the connection immediately ... is SASL missing?\"",
        why: "The listener has SASL or basic authentication, and the manifests create no user: neither RP_BOOTSTRAP_USER nor a Secret of users that the brokers' sidecar reads. A client without credentials is sent away.",
        tell: "rpk security user list is empty.",
        change: "Name users in auth.sasl (a Secret of lines user:password:mechanism), or create them by the Admin API and give them to the clients.",
        sources: ["docs/facts/redpanda.md section 5 row 26"],
    }
    CertificateNotLoaded {
        sees: "The broker is in CrashLoopBackOff.",
        why: "A certificate, key or trust store that redpanda.yaml names is not mounted or cannot be read, so the broker's process exits at its start.",
        tell: "kubectl logs of the broker names the file.",
        change: "Mount the Secret at the path that is named; see that it holds tls.crt, tls.key and ca.crt, and that the key belongs to the certificate.",
        sources: ["docs/facts/redpanda.md 2.2, section 5 row 23", "redpanda-data/redpanda-operator#1222"],
    }
    CertificateNotIssued {
        sees: "Pods stay in ContainerCreating: the Secret of the certificate does not exist.",
        why: "cert-manager cannot make the certificate, so its Secret never exists and the pods that mount it wait.",
        tell: "kubectl describe certificate says why.",
        change: "Correct the Certificate's names or the Secret of its issuer.",
        sources: ["docs/facts/redpanda.md 1.3"],
    }
    ServiceCannotReachBrokers {
        sees: "HTTP Proxy or Schema Registry answers with broker_not_available (50302), or with another 5xx.",
        why: "HTTP Proxy and Schema Registry are Kafka clients of the brokers. That client cannot work: it does not trust the certificate of the brokers' internal listener, speaks plain text to a TLS port, dials a wrong address, or has no user.",
        tell: "Compare pandaproxy_client and schema_registry_client in redpanda.yaml (brokers, broker_tls, scram_username) with the first of kafka_api.",
        change: "Give broker_tls of pandaproxy_client and schema_registry_client the trust store of the internal listener's certificate, and the addresses and the user of that listener.",
        sources: ["docs/facts/redpanda.md 3.3, 3.4, section 5 row 40", "redpanda-data/helm-charts#1573"],
    }
}
