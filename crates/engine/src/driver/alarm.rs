//! An alarm clock that is finer than tokio's timers, which count whole milliseconds and sleep in whole milliseconds beside
//! that (`epoll_wait`): on Linux a timer descriptor among those that the runtime sleeps on (timerfd_create(2)), which wakes
//! a thread some 50 µs late. Elsewhere, and where there are no descriptors left, tokio's own timer, set for earlier.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::Span;

/// How much later than asked tokio's timers may ring: both roundings.
const TOKIO_LATE: Duration = Duration::from_millis(2);

/// Rings once after it was set.
pub(crate) struct Alarm {
    #[cfg(target_os = "linux")]
    descriptor: Option<descriptor::Timer>,
    sleep: Pin<Box<Sleep>>,
}

impl Alarm {
    /// An alarm that is not set. It needs a tokio runtime with I/O.
    pub(crate) fn new() -> Alarm {
        Alarm {
            #[cfg(target_os = "linux")]
            descriptor: descriptor::Timer::new().ok(),
            sleep: Box::pin(sleep_until(Instant::now())),
        }
    }

    /// Sets it to ring after `span`; a setting that there is, is forgotten.
    pub(crate) fn set(&mut self, span: Span) {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.descriptor
            && timer.set(span).is_ok()
        {
            return;
        }
        let ahead = Duration::from(span).saturating_sub(TOKIO_LATE);
        self.sleep.as_mut().reset(Instant::now() + ahead);
    }

    /// Whether it has rung; if not, the task is woken when it does. Now and then it rings too early.
    pub(crate) fn poll_rung(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        #[cfg(target_os = "linux")]
        if let Some(timer) = &self.descriptor {
            return timer.poll_rung(cx);
        }
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(target_os = "linux")]
mod descriptor {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::task::{Context, Poll};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use crate::Span;

    const SECOND_NS: u64 = 1_000_000_000;

    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[expect(
            deprecated,
            reason = "what may go wrong cannot with an OwnedFd, whose descriptor stays open while it is registered"
        )]
        pub(super) fn new() -> io::Result<Timer> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Timer(AsyncFd::with_interest(descriptor, Interest::READABLE)?))
        }

        pub(super) fn set(&self, span: Span) -> io::Result<()> {
            // Zero would stop it.
            let span_ns = span.as_nanos().max(1);
            let at = Timespec {
                tv_sec: i64::try_from(span_ns / SECOND_NS).unwrap_or(i64::MAX),
                tv_nsec: (span_ns % SECOND_NS) as _,
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }

        pub(super) fn poll_rung(&self, cx: &mut Context<'_>) -> Poll<()> {
            match self.0.poll_read_ready(cx) {
                Poll::Ready(Ok(mut ready)) => {
                    // The next setting makes it unreadable, so it need not be read.
                    ready.clear_ready();
                    Poll::Ready(())
                }
                Poll::Ready(Err(_)) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        }
    }
}
