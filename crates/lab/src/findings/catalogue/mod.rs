//! The codes of findings, and what `hopwise explain` says of each. A code keeps its meaning for ever; a code that is no
//! longer used is not given again.
//!
//! The texts are in the files beside this one, by what they are about. `docs/findings.md` is made of them, and a test
//! keeps it so.

mod addresses;
mod brokers;
mod example;
mod inputs;
mod ports;
mod security;
mod services;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Severity;
use super::Severity::{Error, Note, Warning};

pub use example::Example;

/// What the catalogue says about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The code.
    pub code: Code,
    /// How bad it is, unless the finding says otherwise.
    pub severity: Severity,
    /// A few words.
    pub title: &'static str,
    /// What users and clients see of it.
    pub sees: &'static str,
    /// Why it happens.
    pub why: &'static str,
    /// How to tell that it is this, on a cluster that runs.
    pub tell: &'static str,
    /// What to change in general.
    pub fix: &'static str,
    /// Where it is known from.
    pub sources: &'static [&'static str],
}

/// What is said of a code at length.
#[derive(Clone, Copy)]
struct Text {
    sees: &'static str,
    why: &'static str,
    tell: &'static str,
    change: &'static str,
    sources: &'static [&'static str],
}

/// The texts of one file, as a list by code.
macro_rules! texts {
    ($($name:ident {
        sees: $sees:literal, why: $why:literal, tell: $tell:literal, change: $change:literal,
        sources: [$($source:literal),* $(,)?] $(,)?
    })*) => {
        pub(super) const TEXTS: &[(Code, Text)] = &[$((
            Code::$name,
            Text { sees: $sees, why: $why, tell: $tell, change: $change, sources: &[$($source),*] },
        )),*];
    };
}
use texts;

/// All texts.
const TEXTS: [&[(Code, Text)]; 6] =
    [addresses::TEXTS, brokers::TEXTS, inputs::TEXTS, ports::TEXTS, security::TEXTS, services::TEXTS];

macro_rules! codes {
    ($($name:ident $number:literal $severity:ident $title:literal)*) => {
        /// The kind of a finding. Written as `HW` and four digits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            fn heading(self) -> (Severity, &'static str) {
                match self {
                    $(Code::$name => ($severity, $title),)*
                }
            }
        }
    };
}

codes! {
    BarePodNameAdvertised 1 Error "A bare pod name is advertised"
    DomainAppendedToAddress 2 Error "A domain is appended to an IP address"
    NameNotResolvable 3 Error "The advertised name cannot be resolved where the client stands"
    EmptyAdvertisedAddress 4 Error "The advertised address is empty"
    NodeWithoutEndpoint 5 Error "The node has no endpoint and the traffic policy is Local"
    ServiceWithoutEndpoints 6 Error "The Service has no endpoints"
    PortNotOpened 7 Error "No Service opens the advertised port"
    NodePortOutOfRange 8 Error "The node port is outside the range"
    LoadBalancerPortMismatch 9 Error "The load balancer does not listen on the advertised port"
    SharedAdvertisedAddress 10 Error "Several brokers advertise the same address"
    FewerAddressesThanReplicas 11 Error "There are fewer advertised addresses than replicas"
    AddressOfAnotherBroker 12 Error "The advertised address leads to another broker"
    PrefixTemplateUnused 13 Warning "The prefix template has no effect"
    CertificateNameMismatch 14 Warning "The certificate does not name the advertised host"
    BrokersShareNode 15 Warning "Two brokers can run on one node behind one node port"
    NoDrainBeforeStop 16 Note "Brokers are stopped without draining"
    ListenerNotExposed 17 Warning "A listener for outside has no Service"
    AdvertisedListenersDiffer 18 Error "The advertised listeners do not match the listeners"
    SeedServerUnknown 19 Error "A seed server's name does not exist"
    SelectorMatchesNothing 20 Error "A Service selects no pod"
    SelectorMatchesOthers 21 Warning "A Service selects pods that are no brokers"
    NodePortUsedTwice 22 Error "A node port is used twice"
    MissingReference 23 Error "A referenced object does not exist"
    FewerNodesThanReplicas 24 Error "There are fewer nodes than replicas"
    HeadlessHidesNotReady 25 Warning "The headless Service hides brokers that are not ready"
    TrailingDotWithTls 26 Note "A name with a trailing dot is advertised with TLS"
    ListenersShareNumber 27 Error "Two listeners of a broker have the same port"
    TargetsInternalListener 28 Error "A Service for outside leads to the internal listener"
    LoadBalancerPending 29 Error "The load balancer is pending"
    DnsRecordMismatch 30 Warning "The DNS record is for another name than the advertised one"
    SecurityNotMeasured 31 Note "TLS and authentication are not measured"
    WrongBroker 32 Error "Another broker answers"
    InternalAddressOutside 33 Error "A client outside is told an internal name"
    PortFilteredOnTheWay 34 Error "The connection is dropped on the way"
    AddressLeadsNowhere 35 Error "Nothing in the cluster has the advertised address"
    BrokerNotRunning 36 Error "The broker does not run"
    IdleFlowsForgotten 37 Note "The load balancer forgets idle connections before clients close them"
    InClusterByNodePort 38 Warning "A client inside uses a node port"
    Hairpin 39 Error "A pod dials its own node through the load balancer"
    TlsFailed 40 Error "The TLS handshake fails"
    AuthenticationFailed 41 Error "The broker does not accept the client"
    ProtocolMismatch 42 Error "The other side speaks another protocol"
    InternalListenerMissing 43 Warning "No listener advertises a name inside the cluster"
    RouteFailed 44 Error "The route fails"
    RejectedByApiServer 45 Error "The API server rejects the object"
    InitContainerFailed 46 Error "An init container does not succeed"
    UnknownField 47 Warning "A field is not known"
    KindNotSimulated 48 Note "A kind is not simulated"
    ImageNotKnown 49 Note "An image is not known"
    SecretAssumed 50 Note "A Secret is in no manifest"
    SourceHidden 51 Note "The server sees another address than the client's"
    ExtraHop 52 Note "A node passes the connection on to another node"
    AffinityPins 53 Note "A client stays with one pod"
    SourceRangeExcludes 54 Error "The client's address is not in loadBalancerSourceRanges"
    NothingListens 55 Error "Nothing listens on the pod's port"
    ClusterAddressOutside 56 Error "An address of the cluster's inside is dialled from outside"
    PolicyDenies 57 Error "A filter on the node denies the connection"
    BalancerAnnotationNotFollowed 58 Note "A load balancer's annotation is not followed"
    ProbeAssumed 59 Note "A probe or hook is not performed as declared"
    CorefileIgnored 60 Note "A part of the Corefile is not simulated"
    AddressNotInCertificate 61 Error "The certificate does not hold the IP address that is dialled"
    UnknownAuthority 62 Error "The certificate is signed by an authority that clients do not trust"
    CertificateNotValidNow 63 Error "The certificate has expired or is not valid yet"
    ClientCertificateNeeded 64 Error "The listener asks for a client certificate"
    PlainTextPort 65 Error "A client with TLS reaches a port without"
    TlsPort 66 Error "A client without TLS reaches a port with TLS"
    CredentialsMissing 67 Error "The listener asks for a user and none is known"
    CertificateNotLoaded 68 Error "A broker cannot load a certificate"
    CertificateNotIssued 69 Error "A Certificate cannot be issued as it is asked for"
    OtherClusterDomain 70 Error "A name belongs to another cluster domain"
    AdminRedirectsInside 71 Warning "Writes to the Admin API are redirected to a name inside"
    GhostBroker 72 Error "A broker has come back as another one"
    IdIsNotOrdinal 73 Note "A broker's id is not its pod's ordinal"
    GraceTooShort 74 Warning "The grace period is shorter than the preStop hook"
    ServiceCannotReachBrokers 75 Error "HTTP Proxy or Schema Registry cannot reach the brokers"
    LoopbackAdvertised 76 Error "A loopback address is dialled"
    BalancerKeepsTarget 77 Error "The load balancer sends to a node without the pod"
    RemovedBrokerReturns 78 Error "A broker that was removed comes back with its old volume"
    MaintenanceSlotTaken 79 Error "Another broker is in maintenance already"
}

impl Code {
    /// The number in the code.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// What the catalogue says about the code.
    pub fn entry(self) -> Entry {
        let (severity, title) = self.heading();
        let text = TEXTS.iter().copied().flatten().find(|(code, _)| *code == self).map(|(_, text)| *text);
        let Text { sees, why, tell, change, sources } =
            text.unwrap_or_else(|| panic!("{self} has no text; every code has one"));
        Entry { code: self, severity, title, sees, why, tell, fix: change, sources }
    }

    /// The codes that are written most like `text`, the nearest first: for somebody who has mistyped one.
    pub fn nearest(text: &str) -> Vec<Code> {
        const SHOWN: usize = 3;
        let text = text.to_ascii_uppercase();
        let mut codes: Vec<Code> = Code::ALL.to_vec();
        codes.sort_by_key(|code| (strsim::damerau_levenshtein(&code.to_string(), &text), *code));
        codes.truncate(SHOWN);
        codes
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HW{:04}", self.number())
    }
}

impl FromStr for Code {
    type Err = String;

    /// Reads a code; upper and lower case are the same.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Code::ALL.iter().find(|code| code.to_string().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| {
            let nearest: Vec<String> = Code::nearest(text).iter().map(ToString::to_string).collect();
            let last = Code::ALL.len();
            format!("`{text}` is no code; expected HW0001 to HW{last:04}, such as {}", nearest.join(", "))
        })
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> String {
        let mut text = String::from(
            "# Findings\n\nEvery code that `hopwise` can report, as `hopwise explain CODE` prints it. A code keeps its meaning.\n\
             The texts are in `crates/lab/src/findings/catalogue`; a test compares them with this page\n\
             (`UPDATE_DOCS=1 cargo test -p hopwise-lab --lib findings::catalogue` rewrites it).\n",
        );
        for code in Code::ALL {
            let Entry { severity, title, sees, why, tell, fix, sources, .. } = code.entry();
            text.push_str(&format!(
                "\n## {code}: {title}\n\nSeverity: {}.\n\n**What you see.** {sees}\n\n**Why.** {why}\n\n\
                 **How to tell.** {tell}\n\n**What to change.** {fix}\n\n",
                severity.as_str(),
            ));
            if let Some(example) = code.example() {
                text.push_str(&format!("**Example.** `{}`\n\n", example.path()));
            }
            text.push_str(&format!("**Sources.** {}\n", sources.join("; ")));
        }
        text
    }

    #[test]
    fn the_page_says_what_the_catalogue_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, document()).expect("docs can be written");
        }
        let page = std::fs::read_to_string(path).expect("the page exists");
        assert!(page == document(), "docs/findings.md differs; rewrite it with UPDATE_DOCS=1");
    }

    #[test]
    fn numbers_count_up_without_gaps() {
        let numbers: Vec<u16> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (1..=Code::ALL.len() as u16).collect::<Vec<_>>());
    }

    #[test]
    fn every_code_has_one_text() {
        let mut codes: Vec<Code> = TEXTS.iter().copied().flatten().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        assert_eq!(codes, Code::ALL);
        for code in Code::ALL {
            let entry = code.entry();
            let texts = [entry.title, entry.sees, entry.why, entry.tell, entry.fix];
            assert!(texts.iter().all(|text| !text.is_empty()) && !entry.sources.is_empty(), "{code}");
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(code.to_string().parse(), Ok(*code));
        }
        assert_eq!("hw0012".parse(), Ok(Code::AddressOfAnotherBroker));
        assert_eq!(
            "HW012".parse::<Code>().unwrap_err(),
            "`HW012` is no code; expected HW0001 to HW0079, such as HW0012, HW0002, HW0010"
        );
    }
}
