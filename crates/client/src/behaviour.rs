//! How a client behaves, as numbers and choices: what differs between the Kafka clients that people use.
//!
//! The code paths are the same for every client; they ask a [`Behaviour`]. The tables that fill it are in `profiles`, one
//! file per client, each value with its source.
//!
//! Left out, for every client: refreshing metadata in the background (the next request waits for it instead), batching and
//! lingering, and the time that a producer blocks its caller (`max.block.ms`).

use std::fmt;
use std::time::Duration;

/// Everything in which clients differ. Durations without an end are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// Metadata older than this is asked for again (`metadata.max.age.ms`).
    pub metadata_max_age: Option<Duration>,
    /// The least time from one metadata answer to the next request for it, unless a topic is new.
    pub metadata_min_interval: Duration,
    /// The topics that metadata is asked for.
    pub metadata_topics: MetadataTopics,
    /// A topic that was not used for so long is no longer asked for (`metadata.max.idle.ms`).
    pub topic_max_idle: Option<Duration>,
    /// What makes the client doubt its metadata before its age.
    pub refresh_on: RefreshOn,
    /// Whom it asks what any broker knows.
    pub ask_anyone: AskAnyone,
    /// The order in which it tries the bootstrap list.
    pub bootstrap_order: BootstrapOrder,
    /// When it goes back to the bootstrap list (KIP-899, KIP-1102).
    pub rebootstrap: Rebootstrap,
    /// What becomes of a bootstrap connection once the broker's id is known.
    pub bootstrap_connection: BootstrapConnection,
    /// When a name is resolved again.
    pub resolve: Resolve,
    /// Which address families are used.
    pub families: Families,
    /// In which order addresses are tried.
    pub address_order: AddressOrder,
    /// How many addresses one attempt to connect tries (`client.dns.lookup`).
    pub addresses_tried: AddressesTried,
    /// The longest wait for a TCP connection; after failures in a row it grows to `most`.
    pub connect_timeout: Wait,
    /// The wait before connecting again to a broker that failed.
    pub reconnect_backoff: Wait,
    /// Which connection carries which request.
    pub connections: Connections,
    /// A connection that lay idle for so long is closed (`connections.max.idle.ms`).
    pub connections_max_idle: Option<Duration>,
    /// What becomes of a connection when its broker advertises another address.
    pub address_change: AddressChange,
    /// Requests in flight on one connection; at least one.
    pub max_in_flight: usize,
    /// The longest wait for an answer.
    pub request_timeout: Duration,
    /// To which requests the time is added that the broker may wait itself.
    pub server_wait: ServerWait,
    /// The time that a Produce request gives the broker for its replicas.
    pub ack_timeout: Duration,
    /// The wait before a request is tried again.
    pub retry_backoff: Wait,
    /// How long records are tried.
    pub produce: Patience,
    /// How long a fetch is tried.
    pub fetch: Patience,
    /// How long every other request is tried.
    pub others: Patience,
    /// What is done with the leader that comes with an error of the wrong broker (KIP-951).
    pub leader_hints: LeaderHints,
    /// The largest answer accepted, in bytes. A length above it is how a client notices that the peer speaks no Kafka.
    pub receive_bytes_max: u32,
    /// The newest version of Produce that is sent.
    pub produce_version_max: i16,
    /// The newest version of Fetch that is sent.
    pub fetch_version_max: i16,
    /// The newest version of Metadata that is sent.
    pub metadata_version_max: i16,
}

/// A wait that doubles after each failure in a row, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// After the first failure.
    pub first: Duration,
    /// At most, before jitter; never less than `first`.
    pub most: Duration,
    /// The jitter downwards, in percent.
    pub less_percent: u32,
    /// The jitter upwards, in percent.
    pub more_percent: u32,
}

impl Wait {
    /// Doubles from `first` to `most`, 20 % more or less (KIP-580).
    pub const fn doubling(first: Duration, most: Duration) -> Wait {
        Wait { first, most, less_percent: 20, more_percent: 20 }
    }

    /// The same after every failure.
    pub const fn fixed(wait: Duration) -> Wait {
        Wait { first: wait, most: wait, less_percent: 0, more_percent: 0 }
    }
}

/// How long something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Tries after the first; no limit if absent.
    pub retries: Option<u32>,
    /// The time for all of them; no limit if absent.
    pub within: Option<Duration>,
}

impl Patience {
    /// For ever.
    pub const ENDLESS: Patience = Patience { retries: None, within: None };

    /// As often as wanted within a time.
    pub const fn within(time: Duration) -> Patience {
        Patience { retries: None, within: Some(time) }
    }
}

/// Declares a choice: a name, what it means, and each alternative with its word in the comparison.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $alternative:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$meaning])* $alternative,)* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$alternative => $word,)* })
            }
        }
    };
}

choice! {
    /// The topics that a refresh asks for.
    MetadataTopics {
        /// Those that the client works with.
        Used = "those in use",
        /// All that the cluster has.
        All = "all",
    }
}

choice! {
    /// What makes a client ask for metadata before its age.
    RefreshOn {
        /// Any failure: no connection, no answer, an error that says that the metadata is old.
        AnyFailure = "any failure",
        /// Only an answer that says so. A broker that is dead says nothing.
        BrokersWord = "an error answer",
    }
}

choice! {
    /// Whom a client asks what any broker knows.
    AskAnyone {
        /// Connected brokers with the fewest requests in flight first, the others beginning at a random one.
        LeastLoaded = "the least loaded connection",
        /// Connected brokers first, in random order, then the others in random order.
        RandomConnected = "a random connection",
        /// One after the other, connected or not, going on where it stopped.
        InTurn = "each in turn",
        /// The one with the lowest id.
        LowestId = "the lowest id",
    }
}

choice! {
    /// The order in which the bootstrap list is tried.
    BootstrapOrder {
        /// As it is written.
        Written = "as written",
        /// As it is written, beginning at a random place.
        RandomStart = "as written, from a random place",
        /// In random order.
        Shuffled = "shuffled",
    }
}

choice! {
    /// What becomes of the connection to a bootstrap address once metadata tells which broker advertises that address.
    BootstrapConnection {
        /// It stays one of its own; the broker gets another.
        Apart = "another one is opened",
        /// It is the broker's from then on.
        BecomesBrokers = "it is kept for the broker",
    }
}

choice! {
    /// Which address families are used.
    Families {
        /// That of the first address of the answer.
        OfFirst = "that of the first address",
        /// All.
        All = "all",
    }
}

choice! {
    /// In which order the addresses of a name are tried.
    AddressOrder {
        /// As the resolver gives them.
        Answered = "as answered",
        /// In random order.
        Shuffled = "shuffled",
    }
}

choice! {
    /// How many addresses of a name one attempt to connect tries.
    AddressesTried {
        /// The first of the answer, always.
        First = "the first",
        /// One; the next attempt takes the next.
        Next = "one, the next one next time",
        /// All, one after the other, each with the whole time.
        EachInTurn = "each in turn",
        /// All within the time: those of the first one's family, and from 300 ms on those of the other beside them
        /// (RFC 6555; Go's `net.Dialer`).
        Racing = "each in turn, both families at once",
    }
}

choice! {
    /// Which connection to a broker carries which request.
    Connections {
        /// One for everything.
        One = "one",
        /// One for Produce, one for Fetch, one for requests with a time-out of their own, one for the rest.
        ByKind = "produce, fetch, slow, rest",
    }
}

choice! {
    /// What becomes of an open connection when metadata gives its broker another address.
    AddressChange {
        /// New requests take a new connection; the old one closes when the last request on it is answered.
        Drain = "it drains",
        /// It is closed with what is in flight.
        Close = "it is closed",
        /// It is used until it breaks; only then the new address is dialled.
        Keep = "it is kept until it breaks",
    }
}

choice! {
    /// To which requests' time-outs the time is added that the broker may wait itself before it answers.
    ServerWait {
        /// None.
        NotAdded = "none",
        /// Fetch (`fetch.max.wait.ms`).
        AddedToFetch = "fetch",
        /// Every request with a time-out field.
        Added = "all that have one",
    }
}

choice! {
    /// What is done with the leader that an error answer names (KIP-951).
    LeaderHints {
        /// Nothing: metadata is asked for.
        Ignored = "ignored",
        /// It is taken, and the request goes to it after the back-off.
        Taken = "taken, after the back-off",
        /// It is taken, and the request goes to it at once.
        TakenAtOnce = "taken, at once",
    }
}

/// When a name is resolved again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// For each new connection.
    EveryConnection,
    /// When the last answer is older than this.
    After(Duration),
    /// When each address was tried, or an open connection was lost.
    AfterLoss,
    /// Once for the client's life, as programs do that resolve at start (redpanda.md 5, row 31).
    Once,
}

/// When a client that knows brokers goes back to its bootstrap list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebootstrap {
    /// Never.
    Never,
    /// When none of the brokers that it knows answers (KIP-899).
    NoneAnswers,
    /// Also when it has had no metadata for so long (KIP-1102).
    NoneAnswersOrAfter(Duration),
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resolve::EveryConnection => f.write_str("for each connection"),
            Resolve::After(age) => write!(f, "after {age:?}"),
            Resolve::AfterLoss => f.write_str("after a loss, or when all were tried"),
            Resolve::Once => f.write_str("never again"),
        }
    }
}

impl fmt::Display for Rebootstrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rebootstrap::Never => f.write_str("never"),
            Rebootstrap::NoneAnswers => f.write_str("when no broker answers"),
            Rebootstrap::NoneAnswersOrAfter(time) => {
                write!(f, "when no broker answers, or after {time:?} without metadata")
            }
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.first)?;
        if self.most > self.first {
            write!(f, " to {:?}", self.most)?;
        }
        match (self.less_percent, self.more_percent) {
            (0, 0) => Ok(()),
            (less, more) if less == more => write!(f, " ± {less} %"),
            (less, more) => write!(f, " − {less} % + {more} %"),
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.retries, self.within) {
            (None, None) => f.write_str("for ever"),
            (Some(retries), None) => write!(f, "{retries} retries"),
            (None, Some(time)) => write!(f, "{time:?}"),
            (Some(retries), Some(time)) => write!(f, "{retries} retries, {time:?}"),
        }
    }
}
