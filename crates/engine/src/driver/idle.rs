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
    static A_TASK_RAN: Cell<bool> = const { Cell::new(false) };
}

/// Whether the runtime may park when every task waits, or has to wake the driver.
#[derive(Clone, Copy)]
enum MayPark {
    No,
    Once,
    /// Once, unless a task has run that the driver does not know of: in wall time a descriptor may have become ready while the
    /// driver was at work, and the world has to be settled after the task that waited for it.
    OnceIfNoTaskRan,
}

/// The driver's hold on the runtime's parking.
pub(crate) struct Parking;

impl Parking {
    /// Installs the hook that wakes the driver instead of letting the thread park.
    pub(crate) fn install_hook(builder: &mut tokio::runtime::Builder) {
        builder.on_thread_park(|| {
            match MAY_PARK.replace(MayPark::No) {
                MayPark::Once => return,
                MayPark::OnceIfNoTaskRan if !A_TASK_RAN.get() => return,
                MayPark::OnceIfNoTaskRan | MayPark::No => {}
            }
            Parking::wake_driver();
        });
        // While parked, tokio's clock moves on its own: whoever is polled next must read the new time.
        builder.on_thread_unpark(|| {
            if let Some(start) = START.get() {
                context::catch_up(time_since(start));
            }
        });
    }

    /// Wakes the driver if it waits until every task waits, or for a while.
    pub(crate) fn wake_driver() {
        if let Some(driver) = DRIVER.take() {
            driver.wake();
        }
    }

    /// Says that a task is about to run.
    pub(crate) fn a_task_runs() {
        A_TASK_RAN.set(true);
    }

    /// Whether a task has run since this was asked last.
    pub(crate) fn a_task_ran() -> bool {
        A_TASK_RAN.replace(false)
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

    /// Lets the runtime park once, in wall time and if no task has run since [`Parking::a_task_ran`] was asked: it sleeps until
    /// a timer or a descriptor is ready, or until `alarm` rings. Returns when every task waits again, or has had many turns.
    pub(crate) async fn park_until_rung(alarm: &mut Alarm) {
        let mut idle = Parking::idle();
        MAY_PARK.set(MayPark::OnceIfNoTaskRan);
        poll_fn(|cx| {
            // One that has rung already wakes nobody.
            if alarm.poll_rung(cx).is_ready() {
                MAY_PARK.set(MayPark::No);
            }
            Pin::new(&mut idle).poll(cx)
        })
        .await;
        // Whoever woke the driver may have done so before the thread parked.
        MAY_PARK.set(MayPark::No);
    }

    /// Waits until every task waits; in wall time only for so many turns.
    pub(crate) fn idle() -> Idle {
        Idle { registered: false }
    }
}

/// tokio's clock as simulation time.
pub(crate) fn time_since(start: Instant) -> Time {
    Time::ZERO + Span::from(start.elapsed())
}

/// Completes when the driver is woken, which [`Parking`] does when every task waits: at the second poll.
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
