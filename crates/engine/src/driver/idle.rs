//! Waiting until every task waits.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::alarm::Alarm;
use crate::{Span, Time, context};

thread_local! {
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
    static DRIVER: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static MAY_PARK: Cell<MayPark> = const { Cell::new(MayPark::No) };
}

/// Whether the runtime may park when every task waits, or has to wake the driver.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayPark {
    No,
    Once,
    /// Once, unless a task runs before: in wall time a descriptor may have become ready while the driver was at work, and
    /// the world has to be settled after the task that waited for it.
    OnceUnlessATaskRuns,
}

/// The driver's hold on the runtime's parking.
pub(crate) struct Parking;

impl Parking {
    /// Installs the hook that wakes the driver instead of letting the thread park.
    pub(crate) fn install_hook(builder: &mut tokio::runtime::Builder) {
        builder.on_thread_park(|| {
            if MAY_PARK.replace(MayPark::No) != MayPark::No {
                return;
            }
            if let Some(driver) = DRIVER.take() {
                driver.wake();
            }
        });
        // While parked, tokio's clock moves on its own: whoever is polled next must read the new time.
        builder.on_thread_unpark(|| {
            if let Some(start) = START.get() {
                context::catch_up(time_since(start));
            }
        });
    }

    /// Says that a task is about to run.
    pub(crate) fn a_task_runs() {
        if MAY_PARK.get() == MayPark::OnceUnlessATaskRuns {
            MAY_PARK.set(MayPark::No);
        }
    }

    /// Says that the simulation's clock starts now.
    pub(crate) fn start() -> Instant {
        let start = Instant::now();
        START.set(Some(start));
        start
    }

    /// Says that the simulation is over.
    pub(crate) fn stop() {
        START.set(None);
        DRIVER.set(None);
        MAY_PARK.set(MayPark::No);
    }

    /// Lets the runtime park once, at the latest until `deadline`, in virtual time: tokio moves its clock to its next timer.
    /// Returns when every task waits again.
    pub(crate) async fn park_until(deadline: Instant) {
        let mut sleep = pin!(tokio::time::sleep_until(deadline));
        let mut idle = Parking::idle();
        MAY_PARK.set(MayPark::Once);
        poll_fn(|cx| {
            let _ = sleep.as_mut().poll(cx);
            Pin::new(&mut idle).poll(cx)
        })
        .await;
    }

    /// Lets the runtime park once, in wall time: it sleeps until a timer or a descriptor is ready, or until `alarm` rings.
    /// Returns when every task waits again.
    pub(crate) async fn park_until_rung(alarm: &mut Alarm) {
        let mut idle = Parking::idle();
        MAY_PARK.set(MayPark::OnceUnlessATaskRuns);
        poll_fn(|cx| {
            let _ = alarm.poll_rung(cx);
            Pin::new(&mut idle).poll(cx)
        })
        .await;
    }

    /// Waits until every task waits.
    pub(crate) fn idle() -> Idle {
        Idle { registered: false }
    }
}

/// tokio's clock as simulation time.
pub(crate) fn time_since(start: Instant) -> Time {
    Time::ZERO + Span::from(start.elapsed())
}

/// Completes when every task waits, or at the second poll whatever woke the driver.
pub(crate) struct Idle {
    registered: bool,
}

impl Future for Idle {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.registered {
            return Poll::Ready(());
        }
        self.registered = true;
        DRIVER.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
