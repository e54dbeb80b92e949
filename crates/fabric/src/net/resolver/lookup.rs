//! One look-up.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hopwise_engine::{Span, Time};

use super::{QueryOutcome, QueryTrace, ResolverConfig};

/// Aliases followed within one reply.
const ALIASES_MAX: usize = 16;

/// Over what a query goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram to port 53.
    Udp,
    /// A connection to port 53, after a reply that was cut; each message behind its length in two bytes.
    Tcp,
}

/// What the caller does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this message, then ask for the next step.
    Send {
        /// The server.
        server: IpAddr,
        /// Over what; a TCP query wants a new connection.
        transport: Transport,
        /// The DNS message.
        message: Vec<u8>,
    },
    /// Wait for a reply, at most until then, and ask again.
    Wait {
        /// When the queries under way are given up.
        until: Time,
    },
    /// The look-up is over.
    Finished(Result<Vec<IpAddr>, LookupError>),
}

/// Why a look-up has no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No candidate name exists with records of the types asked.
    #[error("{0}: name not found")]
    NotFound(String),
    /// No server replied.
    #[error("{0}: no DNS server replied in time")]
    TimedOut(String),
    /// The servers replied that they cannot tell, or none is reachable.
    #[error("{0}: the DNS servers failed")]
    ServerFailure(String),
}

impl From<LookupError> for io::Error {
    fn from(error: LookupError) -> io::Error {
        let kind = match error {
            LookupError::NotFound(_) => io::ErrorKind::NotFound,
            LookupError::TimedOut(_) => io::ErrorKind::TimedOut,
            LookupError::ServerFailure(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// What came of one name, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    NoSuchName,
    NoData,
    ServerFailure,
    TimedOut,
}

#[derive(Debug)]
struct Pending {
    kind: RecordType,
    id: u16,
    transport: Transport,
    sent: bool,
    /// Its place in the trace, once sent.
    traced: usize,
    /// The last server's failure, if it was not silence.
    failed: bool,
    /// The final word: addresses, or why there are none.
    result: Option<Result<Vec<IpAddr>, Verdict>>,
}

/// A look-up under way.
#[derive(Debug)]
pub struct Lookup {
    config: Arc<ResolverConfig>,
    host: String,
    kinds: Vec<RecordType>,
    candidates: Vec<String>,
    candidate: usize,
    pending: Vec<Pending>,
    server: usize,
    attempt: u32,
    deadline: Option<Time>,
    next_id: u16,
    /// The verdict on the name as it is, which outweighs the others (glibc's saved_herrno).
    as_is: Option<Verdict>,
    nodata: bool,
    server_failure: bool,
    trace: Vec<QueryTrace>,
    finished: Option<Result<Vec<IpAddr>, LookupError>>,
}

impl Lookup {
    /// A look-up of a host's addresses, of both families at once.
    ///
    /// Message ids count up from `first_id`. A numeric host and one in the host file are found without a query.
    pub fn new(config: Arc<ResolverConfig>, host: &str, first_id: u16) -> Lookup {
        Lookup::with_types(config, host, &[RecordType::A, RecordType::AAAA], first_id)
    }

    /// A look-up of records of these types; of types other than A and AAAA only the trace tells what was found.
    pub fn with_types(
        config: Arc<ResolverConfig>,
        host: &str,
        kinds: &[RecordType],
        first_id: u16,
    ) -> Lookup {
        let mut candidates = config.candidates(host);
        candidates.retain(|name| Name::from_ascii(name).is_ok());
        let mut lookup = Lookup {
            host: host.to_owned(),
            kinds: kinds.to_vec(),
            candidates,
            candidate: 0,
            pending: Vec::new(),
            server: 0,
            attempt: 0,
            deadline: None,
            next_id: first_id,
            as_is: None,
            nodata: false,
            server_failure: false,
            trace: Vec::new(),
            finished: None,
            config,
        };
        lookup.begin(host);
        lookup
    }

    /// Every query sent so far, in order.
    pub fn trace(&self) -> &[QueryTrace] {
        &self.trace
    }

    /// What to do at this moment. Call it again after each `Send`, and after each reply or at the end of a `Wait`.
    pub fn next(&mut self, now: Time) -> Step {
        loop {
            if let Some(result) = &self.finished {
                return Step::Finished(result.clone());
            }
            if let Some(step) = self.send(now) {
                return step;
            }
            match self.deadline {
                Some(until) if now < until && self.pending.iter().any(Pending::waits) => {
                    return Step::Wait { until };
                }
                _ => self.give_up_server(),
            }
        }
    }

    /// Takes a message that arrived. One that answers no query under way is ignored, as glibc does.
    pub fn reply(&mut self, transport: Transport, bytes: &[u8]) {
        let Ok(message) = Message::from_vec(bytes) else { return };
        let Some(name) = self.candidate_name() else { return };
        let matching = |pending: &Pending| {
            pending.sent
                && pending.result.is_none()
                && pending.transport == transport
                && pending.id == message.metadata.id
                && message.metadata.message_type == MessageType::Response
                && matches!(message.queries.as_slice(),
                    [query] if *query.name() == name && query.query_type() == pending.kind)
        };
        let Some(index) = self.pending.iter().position(matching) else { return };
        let pending = &mut self.pending[index];
        if let Some(traced) = self.trace.get_mut(pending.traced) {
            traced.outcome = Some(QueryOutcome::of(&message));
        }
        if message.metadata.truncation && transport == Transport::Udp {
            pending.transport = Transport::Tcp;
            pending.sent = false;
            self.deadline = None;
            return;
        }
        match message.metadata.response_code {
            ResponseCode::NoError => pending.result = Some(found(&message, &name, pending.kind)),
            ResponseCode::NXDomain => pending.result = Some(Err(Verdict::NoSuchName)),
            _ => pending.failed = true,
        }
        self.settle();
    }

    /// The queries under way over this transport cannot be answered: the port is closed, or there is no route.
    pub fn unreachable(&mut self, transport: Transport) {
        for pending in
            self.pending.iter_mut().filter(|pending| pending.waits() && pending.transport == transport)
        {
            pending.failed = true;
            if let Some(traced) = self.trace.get_mut(pending.traced) {
                traced.outcome = Some(QueryOutcome::Unreachable);
            }
        }
        self.settle();
    }

    fn begin(&mut self, host: &str) {
        let numeric = host.parse::<IpAddr>().ok().map(|ip| vec![ip]);
        let listed = || self.config.hosts.get(&host.trim_end_matches('.').to_ascii_lowercase()).cloned();
        if let Some(ips) = numeric.or_else(listed) {
            let wanted = |ip: &IpAddr| self.kinds.contains(&kind_of(*ip));
            let ips: Vec<IpAddr> = ips.into_iter().filter(wanted).collect();
            let missing = || LookupError::NotFound(self.host.clone());
            self.finished = Some(if ips.is_empty() { Err(missing()) } else { Ok(ips) });
        } else if self.config.nameservers.is_empty() || self.config.attempts == 0 {
            self.finished = Some(Err(LookupError::ServerFailure(self.host.clone())));
        } else {
            self.start_candidate();
        }
    }

    fn candidate_name(&self) -> Option<Name> {
        Name::from_ascii(self.candidates.get(self.candidate)?).ok()
    }

    fn start_candidate(&mut self) {
        if self.candidate >= self.candidates.len() {
            self.finished = Some(Err(self.failure()));
            return;
        }
        (self.server, self.attempt, self.deadline) = (0, 0, None);
        self.pending.clear();
        for kind in &self.kinds {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            let (transport, result) = (Transport::Udp, None);
            self.pending.push(Pending {
                kind: *kind,
                id,
                transport,
                sent: false,
                traced: 0,
                failed: false,
                result,
            });
        }
    }

    /// The next message to send; the wait starts with the first.
    fn send(&mut self, now: Time) -> Option<Step> {
        let name = self.candidate_name()?;
        let server = *self.config.nameservers.get(self.server)?;
        let index = self.pending.iter().position(|pending| !pending.sent && pending.result.is_none())?;
        if self.deadline.is_none() {
            self.deadline = Some(now + self.patience());
        }
        let pending = &mut self.pending[index];
        pending.sent = true;
        pending.traced = self.trace.len();
        self.trace.push(QueryTrace {
            name: name.to_ascii(),
            record_type: pending.kind,
            server,
            transport: pending.transport,
            outcome: None,
        });
        let mut message = Message::new(pending.id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, pending.kind));
        let message = message.to_vec().ok()?;
        Some(Step::Send { server, transport: pending.transport, message })
    }

    /// The wait for the n-th server is timeout * 2^n, shared among the servers for all but the first, at least 1 s.
    fn patience(&self) -> Span {
        let doubled = self.config.timeout.as_nanos().saturating_mul(1 << self.server.min(16));
        let share = if self.server == 0 { 1 } else { self.config.nameservers.len() as u64 };
        Span::from_nanos((doubled / share).max(Span::from_secs(1).as_nanos()))
    }

    /// Goes on once no query waits for this server.
    fn settle(&mut self) {
        if self.pending.iter().all(|pending| pending.result.is_some()) {
            self.conclude();
        } else if !self.pending.iter().any(|pending| pending.result.is_none() && !pending.failed) {
            self.give_up_server();
        }
    }

    /// Asks the next server, or the first again, or ends the name.
    fn give_up_server(&mut self) {
        for pending in self.pending.iter().filter(|pending| pending.waits()) {
            if let Some(traced) = self.trace.get_mut(pending.traced) {
                traced.outcome = Some(QueryOutcome::TimedOut);
            }
        }
        self.deadline = None;
        self.server += 1;
        if self.server >= self.config.nameservers.len() {
            self.server = 0;
            self.attempt += 1;
        }
        let last = self.attempt >= self.config.attempts;
        for pending in self.pending.iter_mut().filter(|pending| pending.result.is_none()) {
            if last {
                let verdict = if pending.failed { Verdict::ServerFailure } else { Verdict::TimedOut };
                pending.result = Some(Err(verdict));
            } else {
                (pending.sent, pending.failed, pending.transport) = (false, false, Transport::Udp);
            }
        }
        if last {
            self.conclude();
        }
    }

    /// All queries for a name are settled: addresses end the look-up, anything else leads to the next name.
    fn conclude(&mut self) {
        let found = self.pending.iter().any(|pending| matches!(pending.result, Some(Ok(_))));
        if found {
            let results = self.pending.iter().filter_map(|pending| pending.result.as_ref()?.as_ref().ok());
            self.finished = Some(Ok(results.flatten().copied().collect()));
            return;
        }
        let verdicts = self.pending.iter().filter_map(|pending| pending.result.as_ref()?.as_ref().err());
        let verdict = verdicts.max().copied().unwrap_or(Verdict::NoSuchName);
        let absolute = format!("{}.", self.host.trim_end_matches('.'));
        let last = self.candidates.len();
        if self.candidates.get(self.candidate) == Some(&absolute) {
            self.as_is = Some(verdict);
        } else if verdict == Verdict::TimedOut {
            // Silence ends the search list, but the name is still asked as it is (res_search's `done`).
            let as_is = self.candidates.iter().rposition(|name| *name == absolute);
            self.candidate = as_is.filter(|&at| at > self.candidate).map_or(last, |at| at.saturating_sub(1));
            if self.as_is.is_none() && as_is.is_none() {
                self.as_is = Some(verdict);
            }
        }
        self.nodata |= verdict == Verdict::NoData;
        self.server_failure |= verdict == Verdict::ServerFailure;
        self.candidate = (self.candidate + 1).min(last);
        self.start_candidate();
    }

    fn failure(&self) -> LookupError {
        let host = self.host.clone();
        match self.as_is {
            Some(Verdict::TimedOut) => LookupError::TimedOut(host),
            Some(Verdict::ServerFailure) => LookupError::ServerFailure(host),
            Some(Verdict::NoSuchName | Verdict::NoData) => LookupError::NotFound(host),
            None if self.server_failure && !self.nodata => LookupError::ServerFailure(host),
            None => LookupError::NotFound(host),
        }
    }
}

impl Pending {
    /// Sent, and neither answered nor refused.
    fn waits(&self) -> bool {
        self.sent && self.result.is_none() && !self.failed
    }
}

fn kind_of(ip: IpAddr) -> RecordType {
    if ip.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}

/// The records of the type at the end of the aliases that start at `name`. Other types have no addresses.
fn found(message: &Message, name: &Name, kind: RecordType) -> Result<Vec<IpAddr>, Verdict> {
    let mut owner = name;
    for _ in 0..ALIASES_MAX {
        let alias = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *owner && kind != RecordType::CNAME => Some(&target.0),
            _ => None,
        });
        match alias {
            Some(target) => owner = target,
            None => break,
        }
    }
    let records =
        message.answers.iter().filter(|record| record.name == *owner && record.record_type() == kind);
    let mut exists = false;
    let addresses = records
        .inspect(|_| exists = true)
        .filter_map(|record| match &record.data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        })
        .collect();
    if exists { Ok(addresses) } else { Err(Verdict::NoData) }
}
