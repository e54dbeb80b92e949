//! Hosts whose processes get less of the processor than they ask for, or nothing.
//!
//! A host can be *stopped*, as a process by SIGSTOP: none of its tasks is polled until it is resumed; what woke them
//! meanwhile (timers, packets) wakes them then. Its sockets are the kernel's and go on. A host can be *slowed*: its tasks
//! take turns on one processor, and each turn takes N times as long as usual. In virtual time the usual turn takes
//! none, so [`TURN`] stands for it.
//!
//! Tasks take part if they were spawned by [`host::spawn`], or wrapped by [`scheduled`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::{HostId, Span, Time, context, host};

/// What one turn of a task stands for when its host is slowed: about what a broker's reactor spends on a small request.
/// An assumption; Seastar lets a task run for 0.5 ms at most before others have their turn (`--task-quota-ms`).
pub const TURN: Span = Span::from_micros(100);

thread_local! {
    /// How many hosts are impeded: nearly always none.
    static IMPEDED_COUNT: Cell<usize> = const { Cell::new(0) };
    static IMPEDED: RefCell<BTreeMap<HostId, Impeded>> = const { RefCell::new(BTreeMap::new()) };
}

/// A host that is stopped, slowed, or both.
struct Impeded {
    stopped: bool,
    /// What wakes when the host is resumed.
    waiting: Vec<Waker>,
    /// How many times as long a turn takes.
    times: u32,
    /// Until when the processor has work.
    busy_until: Time,
    /// How often it was stopped before; a task waits once each time.
    stops: u64,
}

impl Default for Impeded {
    fn default() -> Self {
        Impeded { stopped: false, waiting: Vec::new(), times: 1, busy_until: Time::ZERO, stops: 0 }
    }
}

/// Stops the processes of `host` (SIGSTOP); says whether they ran.
pub fn stop(host: HostId) -> bool {
    change(host, |impeded| {
        impeded.stops += 1;
        !std::mem::replace(&mut impeded.stopped, true)
    })
}

/// Lets the processes of `host` go on (SIGCONT); says whether they were stopped.
pub fn resume(host: HostId) -> bool {
    let (was_stopped, waiting) = change(host, |impeded| {
        (std::mem::replace(&mut impeded.stopped, false), std::mem::take(&mut impeded.waiting))
    });
    waiting.into_iter().for_each(Waker::wake);
    was_stopped
}

/// Lets every turn of the processes of `host` take `times` as long as usual; 1 is as usual. Says how long it was before.
pub fn slow(host: HostId, times: u32) -> u32 {
    change(host, |impeded| std::mem::replace(&mut impeded.times, times.max(1)))
}

/// Whether the processes of `host` are stopped.
pub fn is_stopped(host: HostId) -> bool {
    IMPEDED_COUNT.get() > 0
        && IMPEDED.with_borrow(|all| all.get(&host).is_some_and(|impeded| impeded.stopped))
}

/// Waits until the processes of `host` are not stopped.
pub async fn resumed(host: HostId) {
    let mut stop_seen = 0;
    poll_fn(|cx| wait_while_stopped(host, &mut stop_seen, cx)).await;
}

/// `future` as a task of its host: it gets its turns as the host does.
pub fn scheduled<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let mut turn = Turn::default();
    async move {
        let mut future = pin!(future);
        poll_fn(|cx| {
            ready!(turn.poll(cx));
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// The turn that a task waits for.
#[derive(Default)]
pub(crate) struct Turn {
    comes: Option<Pin<Box<Sleep>>>,
    stop_seen: u64,
}

impl Turn {
    /// Ready when the task has its turn, which is over with this poll.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if IMPEDED_COUNT.get() == 0 && self.comes.is_none() {
            return Poll::Ready(());
        }
        let host = host::current();
        ready!(wait_while_stopped(host, &mut self.stop_seen, cx));
        if self.comes.is_none() {
            let Some(at) = next_turn(host) else { return Poll::Ready(()) };
            let ahead = at - context::now();
            self.comes = Some(Box::pin(sleep_until(Instant::now() + ahead.into())));
        }
        if let Some(comes) = &mut self.comes {
            ready!(comes.as_mut().poll(cx));
            self.comes = None;
        }
        Poll::Ready(())
    }
}

/// Forgets `host`, which is dead.
pub(crate) fn forget(host: HostId) {
    if IMPEDED_COUNT.get() > 0 {
        IMPEDED.with_borrow_mut(|all| all.remove(&host));
        count();
    }
}

/// Forgets all hosts.
pub(crate) fn reset() {
    IMPEDED.with_borrow_mut(BTreeMap::clear);
    count();
}

fn wait_while_stopped(host: HostId, stop_seen: &mut u64, cx: &mut Context<'_>) -> Poll<()> {
    IMPEDED.with_borrow_mut(|all| match all.get_mut(&host) {
        Some(impeded) if impeded.stopped => {
            // A task that is woken again while it waits is in the list already.
            if std::mem::replace(stop_seen, impeded.stops) != impeded.stops {
                impeded.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        }
        _ => Poll::Ready(()),
    })
}

/// When the turn that is asked for now is over; none if it takes no time.
fn next_turn(host: HostId) -> Option<Time> {
    IMPEDED.with_borrow_mut(|all| {
        let impeded = all.get_mut(&host).filter(|impeded| impeded.times > 1)?;
        let takes = TURN.as_nanos().saturating_mul(u64::from(impeded.times - 1));
        impeded.busy_until = impeded.busy_until.max(context::now()) + Span::from_nanos(takes);
        Some(impeded.busy_until)
    })
}

fn change<R>(host: HostId, change: impl FnOnce(&mut Impeded) -> R) -> R {
    let result = IMPEDED.with_borrow_mut(|all| change(all.entry(host).or_default()));
    count();
    result
}

fn count() {
    IMPEDED_COUNT.set(IMPEDED.with_borrow(BTreeMap::len));
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::Simulation;

    /// Ticks of a task on a host of its own, once a second, with their times in milliseconds.
    fn ticks() -> (HostId, Rc<RefCell<Vec<u64>>>) {
        let ticks = Rc::new(RefCell::new(Vec::new()));
        let (host, noted) = (host::create("ticking"), ticks.clone());
        host::spawn_on(host, async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                noted.borrow_mut().push(context::now().as_nanos() / 1_000_000);
            }
        });
        (host, ticks)
    }

    #[test]
    fn a_stopped_host_does_nothing_until_it_is_resumed() {
        let seen = Simulation::new(1).run((), || async {
            let (host, ticks) = ticks();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            assert!(stop(host) && !stop(host) && is_stopped(host));
            tokio::time::sleep(Duration::from_millis(10_000)).await;
            assert!(resume(host) && !resume(host));
            resumed(host).await;
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            ticks.take()
        });
        assert_eq!(seen.expect("it ends"), [1_000, 11_500, 12_500]);
    }

    #[test]
    fn every_turn_of_a_slowed_host_takes_longer_and_others_wait_for_it() {
        let seen = Simulation::new(1).run((), || async {
            let (host, ticks) = ticks();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(slow(host, 101), 1);
            // A second task that keeps the processor busy for 10 ms from a time just before the tick.
            host::spawn_on(host, async {
                tokio::time::sleep(Duration::from_millis(885)).await;
                tokio::task::yield_now().await;
            });
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            assert_eq!(slow(host, 1), 101);
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            ticks.take()
        });
        // Its first poll takes 10 ms, so it sleeps from 110 ms to 995 ms; the tick of 1000 ms waits for that turn.
        let seen = seen.expect("it ends");
        assert!(seen[0] > 1_010 && seen[0] <= 1_030, "{seen:?}");
        assert_eq!(seen[1], seen[0] + 1_000);
    }

    #[test]
    fn a_stopped_host_can_be_killed() {
        let ran = Simulation::new(1).run((), || async {
            let (host, ticks) = ticks();
            stop(host);
            host::kill(host);
            assert!(!is_stopped(host));
            tokio::time::sleep(Duration::from_secs(5)).await;
            ticks.take()
        });
        assert_eq!(ran.expect("it ends"), Vec::<u64>::new());
    }
}
