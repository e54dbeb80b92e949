//! The TCP states of connection tracking, which decide how long a silent flow is remembered.
//!
//! Source: the state table at the head of Linux's nf_conntrack_proto_tcp. Left out: sequence windows (a segment
//! outside the window is not INVALID here) and the shortened timeouts for unacknowledged data.

use crate::nat::Direction;
use crate::packet::Packet;

/// State of a tracked TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcpState {
    /// A SYN was seen.
    SynSent,
    /// Both sides sent a SYN (simultaneous open).
    SynSent2,
    /// SYN and SYN-ACK were seen.
    SynReceived,
    /// The handshake is complete, or the flow was picked up in the middle.
    Established,
    /// One side sent a FIN.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// Both sides sent a FIN.
    LastAck,
    /// The last FIN was acknowledged.
    TimeWait,
    /// Reset.
    Closed,
}

/// What a segment does, by its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Reset,
    /// Cut off, or flags that no TCP sends.
    Malformed,
}

/// What a segment means for the flow it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The flow is in this state now.
    To(TcpState),
    /// The state stays as it is.
    Ignored,
    /// The segment cannot belong to the flow.
    Invalid,
    /// A SYN for a flow that is over: the flow is forgotten and a new one begins.
    Reopens,
}

impl Segment {
    pub(crate) fn of(packet: &Packet) -> Self {
        const FIN: u8 = 0x01;
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        let Some(flags) = packet.payload().get(13) else { return Segment::Malformed };
        match (flags & RST != 0, flags & SYN != 0, flags & FIN != 0, flags & ACK != 0) {
            (true, false, false, _) => Segment::Reset,
            (false, true, false, true) => Segment::SynAck,
            (false, true, false, false) => Segment::Syn,
            (false, false, true, true) => Segment::Fin,
            (false, false, false, true) => Segment::Ack,
            _ => Segment::Malformed,
        }
    }
}

impl TcpState {
    /// The state of a flow whose first segment is `segment`; `None` if no flow can begin with it. `loose`:
    /// a flow may be picked up in the middle (sysctl `nf_conntrack_tcp_loose`).
    pub(crate) fn first(segment: Segment, loose: bool) -> Option<Self> {
        match segment {
            Segment::Syn => Some(TcpState::SynSent),
            Segment::Ack if loose => Some(TcpState::Established),
            _ => None,
        }
    }

    /// What `segment` in `direction` does to a flow in this state.
    pub(crate) fn after(self, direction: Direction, segment: Segment) -> Transition {
        use TcpState::*;
        use Transition::*;
        match (direction, segment) {
            (_, Segment::Malformed) => Invalid,
            (_, Segment::Reset) => To(Closed),
            (Direction::Original, Segment::Syn) => match self {
                SynSent => To(SynSent),
                SynSent2 => To(SynSent2),
                TimeWait | Closed => Reopens,
                _ => Ignored,
            },
            (Direction::Reply, Segment::Syn) => match self {
                SynSent | SynSent2 => To(SynSent2),
                TimeWait => Reopens,
                _ => Invalid,
            },
            (Direction::Original, Segment::SynAck) => match self {
                SynSent => Invalid,
                SynSent2 | SynReceived => To(SynReceived),
                _ => Ignored,
            },
            (Direction::Reply, Segment::SynAck) => match self {
                SynSent | SynSent2 => To(SynReceived),
                _ => Ignored,
            },
            (_, Segment::Fin) => match self {
                SynSent | SynSent2 => Invalid,
                SynReceived | Established => To(FinWait),
                FinWait | CloseWait | LastAck => To(LastAck),
                TimeWait | Closed => To(self),
            },
            (_, Segment::Ack) => self.after_ack(direction),
        }
    }

    fn after_ack(self, direction: Direction) -> Transition {
        use TcpState::*;
        use Transition::*;
        match (self, direction) {
            (SynSent | SynSent2, Direction::Original) => Invalid,
            (SynSent | SynSent2, Direction::Reply) => Ignored,
            (SynReceived, Direction::Original) => To(Established),
            (SynReceived, Direction::Reply) => To(SynReceived),
            (FinWait | CloseWait, _) => To(CloseWait),
            (LastAck | TimeWait, _) => To(TimeWait),
            (Established | Closed, _) => To(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(Direction, Segment)]) -> Option<TcpState> {
        let mut state = TcpState::first(steps[0].1, true)?;
        for (direction, segment) in &steps[1..] {
            match state.after(*direction, *segment) {
                Transition::To(next) => state = next,
                Transition::Ignored => {}
                Transition::Invalid | Transition::Reopens => return None,
            }
        }
        Some(state)
    }

    #[test]
    fn a_connection_opens_and_closes_in_order() {
        use Direction::{Original, Reply};
        use Segment::{Ack, Fin, Syn, SynAck};
        let all = [(Original, Syn), (Reply, SynAck), (Original, Ack), (Original, Fin), (Reply, Ack)];
        let rest = [(Reply, Fin), (Original, Ack)];
        let all = [&all[..], &rest[..]].concat();
        let states = [
            TcpState::SynSent,
            TcpState::SynReceived,
            TcpState::Established,
            TcpState::FinWait,
            TcpState::CloseWait,
            TcpState::LastAck,
            TcpState::TimeWait,
        ];
        for (index, expected) in states.into_iter().enumerate() {
            assert_eq!(run(&all[..=index]), Some(expected), "after {} segments", index + 1);
        }
    }

    #[test]
    fn what_no_connection_begins_with_is_invalid() {
        use Direction::Original;
        assert_eq!(run(&[(Original, Segment::SynAck)]), None);
        assert_eq!(run(&[(Original, Segment::Reset)]), None);
        assert_eq!(run(&[(Original, Segment::Syn), (Original, Segment::Ack)]), None);
        assert_eq!(TcpState::first(Segment::Ack, false), None);
        assert_eq!(run(&[(Original, Segment::Ack)]), Some(TcpState::Established));
    }

    #[test]
    fn a_syn_reopens_what_is_over() {
        let over = TcpState::TimeWait.after(Direction::Original, Segment::Syn);
        assert_eq!(over, Transition::Reopens);
        let open = TcpState::Established.after(Direction::Original, Segment::Syn);
        assert_eq!(open, Transition::Ignored);
    }
}
