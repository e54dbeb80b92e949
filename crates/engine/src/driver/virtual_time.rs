//! Virtual time: jump from event to event.
//!
//! tokio's clock is kept equal to the simulation's. tokio's own jump to its next timer moves in whole
//! milliseconds from wherever its clock stands, so the clock is brought to a millisecond boundary before the
//! runtime may park; otherwise it would pass events on its way.

use std::time::Duration;

use tokio::time::Instant;

use super::{Parking, World, time_since};
use crate::simulation::{Main, Stalled};
use crate::{Clock, Span, Time, context};

const MILLISECOND_NS: u64 = Span::MILLISECOND.as_nanos();

/// Runs `world` and the tasks until `main` is done, wall time is to be kept, or nothing can happen any more.
pub(crate) async fn drive<W: World>(
    world: &mut W,
    clock: &Clock,
    main: &Main,
    limit: Time,
    start: Instant,
) -> Result<(), Stalled> {
    loop {
        Parking::idle().await;
        let now = time_since(start);
        clock.set(now);
        if main.is_done() || context::keeps_wall_time() {
            return Ok(());
        }
        if now >= limit {
            return Err(Stalled::Waiting { at: now, limit });
        }
        world.settle();
        let boundary = Time::from_nanos((now.as_nanos() / MILLISECOND_NS + 1) * MILLISECOND_NS);
        let woke = world.run_until(boundary, clock);
        if woke {
            let reached = crate::now();
            if reached > now {
                advance(now, reached - now, clock).await;
            }
            continue;
        }
        let next = world.next_at().unwrap_or(limit).min(limit);
        let on_boundary = now.as_nanos().is_multiple_of(MILLISECOND_NS);
        if !on_boundary || next < boundary + Span::MILLISECOND {
            advance(now, boundary - now, clock).await;
        } else {
            Parking::park_until(start + Duration::from_millis(next.as_nanos() / MILLISECOND_NS)).await;
        }
    }
}

/// Moves both clocks on by `span`; a timer due within it is due at its end.
async fn advance(now: Time, span: Span, clock: &Clock) {
    clock.set(now + span);
    tokio::time::advance(span.into()).await;
}
