//! Wall time: the same events, each when the machine's clock says so.
//!
//! tokio's timers wait in whole milliseconds; the rest of the way to an event the driver yields in a loop, so
//! packets keep their sub-millisecond times.

use std::time::Duration;

use tokio::time::Instant;

use super::{Parking, World, time_since};
use crate::simulation::{Main, Stalled};
use crate::{Clock, Span, Time};

/// Runs `world` and the tasks until `main` is done.
pub(crate) async fn drive<W: World>(
    world: &mut W,
    clock: &Clock,
    main: &Main,
    limit: Time,
    start: Instant,
) -> Result<(), Stalled> {
    loop {
        let now = time_since(start).max(crate::now());
        if main.is_done() {
            return Ok(());
        }
        if now >= limit {
            return Err(Stalled::Waiting { at: now, limit });
        }
        world.settle();
        let woke = world.run_until(now + Span::from_nanos(1), clock);
        if !woke {
            clock.set(now);
        }
        let next = world.next_at();
        match next {
            _ if woke => Parking::idle().await,
            Some(next) if next <= now + Span::MILLISECOND => tokio::task::yield_now().await,
            Some(next) => {
                let ahead = Duration::from(next - now).saturating_sub(Duration::from_millis(1));
                Parking::park_until(Instant::now() + ahead).await;
            }
            None => Parking::park_until(Instant::now() + Duration::from_secs(3600)).await,
        }
    }
}
