//! How much of the processor a broker's process gets, for brokers that run in real time.
//!
//! A process can be *stopped*, as by SIGSTOP: none of its tasks is polled until it is resumed; the kernel goes on
//! accepting its connections, up to the backlog, and nothing is answered. It can be *slowed*: its tasks take turns on
//! one processor, and each turn takes N times as long as usual ([`TURN`]). A sync that has begun comes to its end in
//! both. In virtual time the engine does this for whole hosts (`hopwise_engine::scheduling`).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hopwise_engine::scheduling::TURN;
use hopwise_fabric::net::origin;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a process gets of the processor; its clones are about the same process.
#[derive(Clone, Default)]
pub struct Processor(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// As which origin the process opens connections ([`origin`]).
    origin: Option<u32>,
    /// Whether the process is stopped or slowed: nearly never.
    impeded: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// What wakes when the process is resumed.
    waiting: Vec<Waker>,
    /// How many times as long a turn takes; 0 and 1 are as usual.
    times: u32,
    /// Until when the processor has work.
    busy_until: Option<Instant>,
}

impl Processor {
    /// The processor of a process whose connections can be told from others' of this program
    /// ([`hopwise_fabric::net::origin`]).
    pub fn of_origin(origin: u32) -> Processor {
        Processor(Arc::new(Shared { origin: Some(origin), ..Shared::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> Vec<Waker> {
        let mut state = self.state();
        change(&mut state);
        self.0.impeded.store(state.stopped || state.times > 1, Ordering::Release);
        if state.stopped { Vec::new() } else { std::mem::take(&mut state.waiting) }
    }

    /// Stops the process (SIGSTOP).
    pub fn stop(&self) {
        self.change(|state| state.stopped = true);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.change(|state| state.stopped = false).into_iter().for_each(Waker::wake);
    }

    /// Lets every turn take `times` as long as usual; 1 is as usual.
    pub fn slow(&self, times: u32) {
        self.change(|state| state.times = times).into_iter().for_each(Waker::wake);
    }

    /// `future` as a task of the process: it gets its turns as the process does.
    pub fn scheduled<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let processor = self.clone();
        async move {
            let mut future = pin!(future);
            let mut comes: Option<Pin<Box<Sleep>>> = None;
            poll_fn(|cx| {
                ready!(processor.turn(&mut comes, cx));
                origin::as_origin(processor.0.origin, || future.as_mut().poll(cx))
            })
            .await
        }
    }

    /// Ready when a task has its turn.
    fn turn(&self, comes: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        if comes.is_none() && !self.0.impeded.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        let mut state = self.state();
        if state.stopped {
            if !state.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        if comes.is_none() && state.times > 1 {
            let now = Instant::now();
            let takes = std::time::Duration::from(TURN) * (state.times - 1);
            let at = state.busy_until.map_or(now, |busy| busy.max(now)) + takes;
            state.busy_until = Some(at);
            *comes = Some(Box::pin(sleep_until(at)));
        }
        drop(state);
        if let Some(sleep) = comes {
            ready!(sleep.as_mut().poll(cx));
            *comes = None;
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    /// Ticks every 10 ms, counted.
    fn ticking(processor: &Processor) -> Arc<AtomicU32> {
        let ticks = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&ticks);
        tokio::spawn(processor.scheduled(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }));
        ticks
    }

    async fn ticks_within(ticks: &AtomicU32, milliseconds: u64) -> u32 {
        let before = ticks.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        ticks.load(Ordering::SeqCst) - before
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_process_does_nothing_until_it_is_resumed() {
        let processor = Processor::default();
        let ticks = ticking(&processor);
        assert_eq!(ticks_within(&ticks, 105).await, 10);
        processor.stop();
        assert_eq!(ticks_within(&ticks, 1000).await, 0);
        processor.resume();
        assert!(ticks_within(&ticks, 100).await >= 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slowed_process_takes_longer_for_each_turn() {
        let processor = Processor::default();
        processor.slow(101);
        let ticks = ticking(&processor);
        // 10 ms of sleep and 10 ms for the turn.
        let slow = ticks_within(&ticks, 1000).await;
        assert!((45..=51).contains(&slow), "{slow}");
        processor.slow(1);
        assert!(ticks_within(&ticks, 1000).await >= 95);
    }
}
