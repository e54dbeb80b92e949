//! A tracked flow: both directions, its state, and how long it is remembered.

use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::{Span, Time};

use crate::nat::tcp_state::{Segment, TcpState, Transition};
use crate::nat::tuple::Tuple;
use crate::packet::{Packet, protocol};

/// A direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The direction of the first packet.
    Original,
    /// The answers.
    Reply,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

/// How long silent flows are remembered, by state. Defaults are those of Linux's sysctls
/// `nf_conntrack_*_timeout_*` (kernel documentation, nf_conntrack-sysctl), except for the two that kube-proxy
/// sets (kubernetes.md 6.6). Of SCTP's states there are two: `cookie_wait` until there is an answer, `established`
/// then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// After a SYN.
    pub tcp_syn_sent: Span,
    /// After a SYN-ACK.
    pub tcp_syn_received: Span,
    /// Open connections; kube-proxy sets one day.
    pub tcp_established: Span,
    /// After a FIN.
    pub tcp_fin_wait: Span,
    /// After an acknowledged FIN; kube-proxy sets one hour.
    pub tcp_close_wait: Span,
    /// After the second FIN.
    pub tcp_last_ack: Span,
    /// After the last acknowledgement.
    pub tcp_time_wait: Span,
    /// After a reset.
    pub tcp_closed: Span,
    /// UDP without an answer yet, or young.
    pub udp: Span,
    /// UDP with packets both ways for more than two seconds.
    pub udp_stream: Span,
    /// SCTP without an answer yet.
    pub sctp: Span,
    /// SCTP with an answer.
    pub sctp_established: Span,
    /// ICMP echo.
    pub icmp: Span,
    /// Any other protocol.
    pub generic: Span,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            tcp_syn_sent: Span::from_secs(120),
            tcp_syn_received: Span::from_secs(60),
            tcp_established: Span::from_secs(86_400),
            tcp_fin_wait: Span::from_secs(120),
            tcp_close_wait: Span::from_secs(3_600),
            tcp_last_ack: Span::from_secs(30),
            tcp_time_wait: Span::from_secs(120),
            tcp_closed: Span::from_secs(10),
            udp: Span::from_secs(30),
            udp_stream: Span::from_secs(120),
            sctp: Span::from_secs(3),
            sctp_established: Span::from_secs(210),
            icmp: Span::from_secs(30),
            generic: Span::from_secs(600),
        }
    }
}

/// How long UDP packets must have gone both ways before the flow counts as a stream.
const UDP_STREAM_AFTER: Span = Span::from_secs(2);

/// A tracked flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The first packet as it came in.
    pub original: Tuple,
    /// The answer as it comes in: its source is where the flow really goes, its destination is the source
    /// address that the other end sees.
    pub reply: Tuple,
    /// The TCP state; `None` for other protocols.
    pub tcp: Option<TcpState>,
    /// Whether an answer was seen.
    pub replied: bool,
    /// When the first packet passed.
    pub began: Time,
    /// When it is forgotten if it stays silent.
    pub expires: Time,
    /// The rule that translated it, if one did.
    pub label: Option<Arc<str>>,
    /// The router that the first packet came from; `None` if it did not come from one.
    pub came_from: Option<IpAddr>,
}

impl Flow {
    /// Whether the destination was rewritten.
    pub fn translates_destination(&self) -> bool {
        self.original.destination != self.reply.source
    }

    /// Whether the source was rewritten.
    pub fn translates_source(&self) -> bool {
        self.original.source != self.reply.destination
    }

    /// How a packet of `direction` looks when it comes in.
    pub fn incoming(&self, direction: Direction) -> Tuple {
        match direction {
            Direction::Original => self.original,
            Direction::Reply => self.reply,
        }
    }

    /// How a packet of `direction` looks when it leaves.
    pub fn outgoing(&self, direction: Direction) -> Tuple {
        self.incoming(direction.opposite()).reversed()
    }

    /// Takes note of one more packet. [`Transition::Invalid`] and [`Transition::Reopens`] leave the flow as it is.
    pub(crate) fn observe(
        &mut self,
        direction: Direction,
        packet: &Packet,
        now: Time,
        timeouts: &Timeouts,
    ) -> Transition {
        let mut transition = Transition::Ignored;
        if let Some(state) = self.tcp {
            transition = state.after(direction, Segment::of(packet));
            match transition {
                Transition::To(next) => self.tcp = Some(next),
                // The timer runs on: what is ignored does not keep a flow alive.
                _ => return transition,
            }
        }
        self.replied |= direction == Direction::Reply;
        self.expires = now + self.timeout(now, timeouts);
        transition
    }

    pub(crate) fn timeout(&self, now: Time, timeouts: &Timeouts) -> Span {
        match (self.original.protocol, self.tcp) {
            (_, Some(state)) => match state {
                TcpState::SynSent | TcpState::SynSent2 => timeouts.tcp_syn_sent,
                TcpState::SynReceived => timeouts.tcp_syn_received,
                TcpState::Established => timeouts.tcp_established,
                TcpState::FinWait => timeouts.tcp_fin_wait,
                TcpState::CloseWait => timeouts.tcp_close_wait,
                TcpState::LastAck => timeouts.tcp_last_ack,
                TcpState::TimeWait => timeouts.tcp_time_wait,
                TcpState::Closed => timeouts.tcp_closed,
            },
            (protocol::UDP, None) if self.replied && now.since(self.began) > UDP_STREAM_AFTER => {
                timeouts.udp_stream
            }
            (protocol::UDP, None) => timeouts.udp,
            (protocol::SCTP, None) if self.replied => timeouts.sctp_established,
            (protocol::SCTP, None) => timeouts.sctp,
            (protocol::ICMP | protocol::ICMPV6, None) => timeouts.icmp,
            _ => timeouts.generic,
        }
    }
}
