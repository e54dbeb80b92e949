//! A scenario's clients: where they stand, where they begin, and how they behave.

use hopwise_client::Profile;
use hopwise_client::profiles::UnknownProfile;
use hopwise_fabric::net::resolver::{NoResolver, ResolverKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::place::Place;

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Client {
    /// Its name, which is also the route's name in the report.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// `host:port` of the brokers that it asks first, in this order.
    pub bootstrap: Vec<String>,
    /// The name of the Kafka listener that it is expected to enter by.
    #[serde(default)]
    pub listener: Option<String>,
    /// Which client it behaves as.
    #[serde(default)]
    pub profile: ClientProfile,
    /// Whose resolver it uses; that of programs with this client if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// The rule of routing that it breaks, in builds with feature `bugs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bug: Option<ClientBug>,
}

impl Client {
    /// Whose resolver it uses.
    pub fn resolver(&self) -> ResolverKind {
        self.resolver.map_or(self.profile.0.resolver(), |resolver| resolver.0)
    }
}

/// Which client a client behaves as: `hopwise`, `librdkafka`, `java`, `franz-go` or `naive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientProfile(pub Profile);

/// Whose resolver a client uses: `glibc`, `musl`, `go` or `jvm`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resolver(pub ResolverKind);

/// A rule of routing that a client breaks, so that the checks that watch over it can be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientBug {
    /// Metadata is kept for ever.
    StaleMetadata,
    /// NOT_LEADER_OR_FOLLOWER does not lead to new metadata.
    IgnoreNotLeader,
    /// The address that a broker had first is used for ever.
    StaleAddress,
    /// Answers of DNS are kept for ever.
    StaleDns,
    /// What could not be delivered goes to another partition.
    RetryElsewhere,
    /// A fetch that has to be sent again begins at the beginning of the log.
    ForgetPosition,
}

impl ClientBug {
    /// Whether this build has them.
    pub const BUILT: bool = cfg!(feature = "bugs");

    /// What it switches on in the client.
    #[cfg(feature = "bugs")]
    pub fn bugs(self) -> hopwise_client::Bugs {
        use hopwise_client::Bugs;
        match self {
            ClientBug::StaleMetadata => Bugs { keep_metadata: true, ..Bugs::default() },
            ClientBug::IgnoreNotLeader => Bugs { ignore_not_leader: true, ..Bugs::default() },
            ClientBug::StaleAddress => Bugs { keep_first_address: true, ..Bugs::default() },
            ClientBug::StaleDns => Bugs { keep_dns_answers: true, ..Bugs::default() },
            ClientBug::RetryElsewhere => Bugs { retry_elsewhere: true, ..Bugs::default() },
            ClientBug::ForgetPosition => Bugs { forget_position: true, ..Bugs::default() },
        }
    }
}

impl TryFrom<String> for ClientProfile {
    type Error = UnknownProfile;

    fn try_from(text: String) -> Result<Self, UnknownProfile> {
        text.parse().map(ClientProfile)
    }
}

impl From<ClientProfile> for String {
    fn from(profile: ClientProfile) -> String {
        profile.0.to_string()
    }
}

impl TryFrom<String> for Resolver {
    type Error = NoResolver;

    fn try_from(text: String) -> Result<Self, NoResolver> {
        text.parse().map(Resolver)
    }
}

impl From<Resolver> for String {
    fn from(resolver: Resolver) -> String {
        resolver.0.to_string()
    }
}
