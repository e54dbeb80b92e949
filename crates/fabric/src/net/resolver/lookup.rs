//! One look-up.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hopwise_engine::{Span, Time};

use super::behaviour::After;
use super::{QueryOutcome, QueryTrace, ResolverConfig, ResolverKind};

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
pub(super) enum Verdict {
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
    /// The servers asked in this round, with the query's place in the trace.
    asked: Vec<(IpAddr, usize)>,
    /// Servers of this round that failed, if not by silence.
    failed: usize,
    refused: bool,
    /// How often it is still sent again at once to a server that failed.
    retries_left: u32,
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
    /// Queries to send: which, and to which server.
    outbox: VecDeque<(usize, usize)>,
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
            outbox: VecDeque::new(),
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
                Some(until) if now < until => return Step::Wait { until },
                _ => self.give_up_server(),
            }
        }
    }

    /// Takes a message that arrived from a server. One that answers no query under way is ignored, as all do.
    pub fn reply(&mut self, server: IpAddr, transport: Transport, bytes: &[u8]) {
        let Ok(message) = Message::from_vec(bytes) else { return };
        let Some(name) = self.candidate_name() else { return };
        let matching = |pending: &Pending| {
            pending.result.is_none()
                && pending.transport == transport
                && pending.id == message.metadata.id
                && message.metadata.message_type == MessageType::Response
                && pending.asked.iter().any(|(asked, _)| *asked == server)
                && matches!(message.queries.as_slice(),
                    [query] if *query.name() == name && query.query_type() == pending.kind)
        };
        let Some(index) = self.pending.iter().position(matching) else { return };
        self.note(index, server, QueryOutcome::of(&message));
        let pending = &mut self.pending[index];
        if message.metadata.truncation && transport == Transport::Udp {
            pending.transport = Transport::Tcp;
            self.ask_again(index, server);
            self.deadline = None;
            return;
        }
        match message.metadata.response_code {
            ResponseCode::NoError => pending.result = Some(found(&message, &name, pending.kind)),
            ResponseCode::NXDomain => pending.result = Some(Err(Verdict::NoSuchName)),
            ResponseCode::ServFail if pending.retries_left > 0 => {
                pending.retries_left -= 1;
                self.ask_again(index, server);
                return;
            }
            _ => pending.failed += 1,
        }
        self.settle();
    }

    /// The queries under way to this server over this transport cannot be answered: the port is closed, or there is no
    /// route. Resolvers whose sockets do not hear of that go on waiting.
    pub fn unreachable(&mut self, server: IpAddr, transport: Transport) {
        if transport == Transport::Udp && !self.config.kind.hears_refusals() {
            return;
        }
        for index in 0..self.pending.len() {
            let pending = &mut self.pending[index];
            let waits = pending.result.is_none() && pending.transport == transport;
            if waits && pending.asked.iter().any(|(asked, _)| *asked == server) {
                (pending.failed, pending.refused) = (pending.failed + 1, true);
                self.note(index, server, QueryOutcome::Unreachable);
            }
        }
        self.settle();
    }

    /// Writes what came of the last query of `pending` to this server.
    fn note(&mut self, index: usize, server: IpAddr, outcome: QueryOutcome) {
        let asked = self.pending[index].asked.iter().rev().find(|(asked, _)| *asked == server);
        if let Some(traced) = asked.and_then(|(_, traced)| self.trace.get_mut(*traced)) {
            traced.outcome = Some(outcome);
        }
    }

    /// Sends the query to the same server once more.
    fn ask_again(&mut self, index: usize, server: IpAddr) {
        self.pending[index].asked.retain(|(asked, _)| *asked != server);
        if let Some(server) = self.config.nameservers.iter().position(|known| *known == server) {
            self.outbox.push_back((index, server));
        }
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
        (self.server, self.attempt) = (0, 0);
        self.pending.clear();
        for kind in &self.kinds {
            let id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1);
            let retries_left = self.config.kind.failure_retries();
            self.pending.push(Pending {
                kind: *kind,
                id,
                transport: self.first_transport(),
                asked: Vec::new(),
                failed: 0,
                refused: false,
                retries_left,
                result: None,
            });
        }
        self.start_round();
    }

    fn first_transport(&self) -> Transport {
        // musl knows no `use-vc`.
        let tcp = self.config.use_tcp && !self.config.kind.asks_all_servers();
        if tcp { Transport::Tcp } else { Transport::Udp }
    }

    /// The servers of a round: the one whose turn it is, or all.
    fn round_servers(&self) -> std::ops::Range<usize> {
        let all = self.config.kind.asks_all_servers();
        if all { 0..self.config.nameservers.len() } else { self.server..self.server + 1 }
    }

    /// Asks what is not answered yet: all of it, or with `single-request` the first.
    fn start_round(&mut self) {
        self.deadline = None;
        self.outbox.clear();
        let transport = self.first_transport();
        let at_once = if self.one_by_one() { 1 } else { self.pending.len() };
        let servers = self.round_servers();
        let open = self.pending.iter_mut().enumerate().filter(|(_, pending)| pending.result.is_none());
        for (index, pending) in open.take(at_once) {
            (pending.failed, pending.transport) = (0, transport);
            pending.asked.clear();
            self.outbox.extend(servers.clone().map(|server| (index, server)));
        }
    }

    fn one_by_one(&self) -> bool {
        self.config.one_by_one && !self.config.kind.asks_all_servers()
    }

    /// The next message to send; the wait starts with the first.
    fn send(&mut self, now: Time) -> Option<Step> {
        let name = self.candidate_name()?;
        let (index, server) = self.outbox.pop_front()?;
        let server = *self.config.nameservers.get(server)?;
        if self.deadline.is_none() {
            self.deadline = Some(now + self.patience());
        }
        let pending = &mut self.pending[index];
        pending.asked.push((server, self.trace.len()));
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
        if let Some(bytes) = self.config.kind.payload_max() {
            let mut edns = Edns::new();
            edns.set_max_payload(bytes);
            message.set_edns(edns);
        }
        let message = message.to_vec().ok()?;
        Some(Step::Send { server, transport: pending.transport, message })
    }

    /// How long a round waits. glibc: timeout * 2^n for the n-th server, shared among the servers for all but the first,
    /// at least 1 s. musl: the timeout is for all attempts together. Go: the timeout.
    fn patience(&self) -> Span {
        match self.config.kind {
            ResolverKind::Musl => {
                Span::from_nanos(self.config.timeout.as_nanos() / u64::from(self.config.attempts.max(1)))
            }
            ResolverKind::Go => self.config.timeout,
            ResolverKind::Glibc | ResolverKind::Jvm => {
                let doubled = self.config.timeout.as_nanos().saturating_mul(1 << self.server.min(16));
                let share = if self.server == 0 { 1 } else { self.config.nameservers.len() as u64 };
                Span::from_nanos((doubled / share).max(Span::from_secs(1).as_nanos()))
            }
        }
    }

    /// Goes on once no query waits for a server of this round.
    fn settle(&mut self) {
        let servers = self.round_servers().len();
        // A server that failed is passed over at once; musl waits on, another may still reply.
        let passes_over = !self.config.kind.asks_all_servers();
        let open = |pending: &&Pending| pending.result.is_none();
        if self.pending.iter().all(|pending| pending.result.is_some()) {
            self.conclude();
        } else if self.pending.iter().filter(open).all(|pending| pending.asked.is_empty())
            && self.one_by_one()
        {
            // The reply to the query before is there.
            (self.server, self.attempt) = (0, 0);
            self.start_round();
        } else if passes_over
            && self
                .pending
                .iter()
                .filter(open)
                .all(|pending| pending.asked.is_empty() || pending.failed >= servers)
            && self.outbox.is_empty()
        {
            self.give_up_server();
        }
    }

    /// Asks the next server, or the first again, or ends the name.
    fn give_up_server(&mut self) {
        let silent = |(_, traced): &(IpAddr, usize)| *traced;
        let open = self.pending.iter().filter(|pending| pending.result.is_none());
        for traced in open.flat_map(|pending| pending.asked.iter().map(silent)).collect::<Vec<_>>() {
            if let Some(query) = self.trace.get_mut(traced) {
                query.outcome.get_or_insert(QueryOutcome::TimedOut);
            }
        }
        self.server += self.round_servers().len();
        if self.server >= self.config.nameservers.len() {
            self.server = 0;
            self.attempt += 1;
        }
        if self.attempt < self.config.attempts {
            return self.start_round();
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.result.is_none()) {
            if pending.asked.is_empty() {
                continue;
            }
            let verdict = if pending.failed > 0 { Verdict::ServerFailure } else { Verdict::TimedOut };
            pending.result = Some(Err(verdict));
        }
        if self.pending.iter().any(|pending| pending.result.is_none()) {
            (self.server, self.attempt) = (0, 0);
            return self.start_round();
        }
        self.conclude();
    }

    /// All queries for a name are settled: addresses end the look-up, anything else leads to the next name.
    fn conclude(&mut self) {
        let is_error = |pending: &Pending| {
            matches!(
                pending.result,
                Some(Err(Verdict::TimedOut | Verdict::ServerFailure | Verdict::NoSuchName))
            )
        };
        // musl takes addresses of one family only if the other's query did not fail (lookup_name.c).
        let all_needed = self.config.kind == ResolverKind::Musl;
        let found = self.pending.iter().any(|pending| matches!(pending.result, Some(Ok(_))))
            && !(all_needed && self.pending.iter().any(is_error));
        if found {
            let results = self.pending.iter().filter_map(|pending| pending.result.as_ref()?.as_ref().ok());
            self.finished = Some(Ok(results.flatten().copied().collect()));
            return;
        }
        let verdicts = self.pending.iter().filter_map(|pending| pending.result.as_ref()?.as_ref().err());
        let verdict = verdicts.max().copied().unwrap_or(Verdict::NoSuchName);
        let absolute = format!("{}.", self.host.trim_end_matches('.'));
        let is_absolute = self.candidates.get(self.candidate) == Some(&absolute);
        if is_absolute {
            self.as_is = Some(verdict);
        }
        self.nodata |= verdict == Verdict::NoData;
        self.server_failure |= verdict == Verdict::ServerFailure;
        let refused = self.pending.iter().any(|pending| pending.refused);
        let last = self.candidates.len();
        let next = (self.candidate + 1).min(last);
        self.candidate = match self.config.kind.after(verdict, refused) {
            After::NextName => next,
            After::NameAsItIs if is_absolute => next,
            After::NameAsItIs => {
                let as_is = self.candidates.iter().rposition(|name| *name == absolute);
                as_is.filter(|&at| at > self.candidate).unwrap_or(last)
            }
            After::End => last,
        };
        if self.candidate == last && matches!(verdict, Verdict::TimedOut | Verdict::ServerFailure) {
            self.as_is = self.as_is.or(Some(verdict));
        }
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
