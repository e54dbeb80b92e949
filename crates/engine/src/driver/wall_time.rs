//! Wall time: the same events, each when the machine's clock says so.
//!
//! An event is handled with its own time even if that is past, so being late does not add up along a packet's way: only its
//! end is late. The thread sleeps only where that costs nothing: until shortly before an event, and no sooner than a while
//! after something has happened, since whoever was woken by it often has an answer. Otherwise the driver yields in a loop, in
//! which descriptors are looked at too. It does not wait for all tasks to wait if they go on and on: what they have asked for
//! so far is carried out then. To yield all of the time would be more exact, and would take a whole core from the
//! programs that the packets are for even while nothing is on its way.

use tokio::time::Instant;

use super::alarm::Alarm;
use super::{Parking, World, time_since};
use crate::simulation::{Main, Stalled};
use crate::{Clock, Span, Time, turns};

/// How long before an event the thread is to be awake. A sleep ends late: by 50 µs on a quiet machine, by 300 µs where a
/// virtual machine's processor was halted meanwhile or is wanted by others (measured as `benches/exec.sh` does).
const AWAKE_BEFORE: Span = Span::MILLISECOND;
/// How long the thread stays awake after something has happened.
const AWAKE_AFTER: Span = Span::from_micros(150);

/// The longest sleep where nothing is due.
const SLEEP_MAX: Span = Span::from_secs(3_600);

/// Runs `world` and the tasks until `main` is done.
pub(crate) async fn drive<W: World>(
    world: &mut W,
    clock: &Clock,
    main: &Main,
    limit: Time,
    start: Instant,
) -> Result<(), Stalled> {
    turns::begin_wall_time();
    let mut alarm = Alarm::new();
    let mut awake_until = Time::ZERO;
    loop {
        let now = time_since(start).max(crate::now());
        if main.is_done() {
            return Ok(());
        }
        if now >= limit {
            return Err(Stalled::Waiting { at: now, limit });
        }
        if Parking::a_task_ran() {
            awake_until = now + AWAKE_AFTER;
        }
        world.settle();
        let woke = world.run_until(now + Span::from_nanos(1), clock);
        if woke {
            Parking::idle().await;
            continue;
        }
        clock.set(now);
        let due_in = world.next_at().map_or(SLEEP_MAX, |next| next - now).min(SLEEP_MAX);
        if due_in <= AWAKE_BEFORE || now < awake_until {
            tokio::task::yield_now().await;
        } else {
            alarm.set(Span::from_nanos(due_in.as_nanos() - AWAKE_BEFORE.as_nanos()));
            Parking::park_until_rung(&mut alarm).await;
        }
    }
}
