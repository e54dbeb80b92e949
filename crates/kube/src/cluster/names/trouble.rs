//! What can be wrong with name servers: they are silent, slow, do not learn, or never forget.

use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::Time;
use tokio::sync::watch;

/// What is wrong with some name servers; its clones are about the same.
#[derive(Clone, Default)]
pub struct DnsTrouble(Rc<watch::Sender<State>>);

/// What is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    down: bool,
    slow: Duration,
    frozen: bool,
    /// The time at which their caches stand still.
    cache_stands_at: Option<Time>,
}

impl DnsTrouble {
    /// Lets them be silent, or answer again; says whether that changes anything.
    pub fn set_down(&self, down: bool) -> bool {
        self.change(|state| state.down = down)
    }

    /// Lets each answer take so much longer; says whether that changes anything.
    pub fn set_slow(&self, slow: Duration) -> bool {
        self.change(|state| state.slow = slow)
    }

    /// Lets them learn nothing new, or catch up; says whether that changes anything.
    pub fn set_frozen(&self, frozen: bool) -> bool {
        self.change(|state| state.frozen = frozen)
    }

    /// Lets the time of their caches stand still at `at`, or go on; says whether that changes anything.
    pub fn set_cache_stands_at(&self, at: Option<Time>) -> bool {
        self.change(|state| match (state.cache_stands_at, at) {
            // What stands still goes on standing where it is.
            (Some(_), Some(_)) => {}
            _ => state.cache_stands_at = at,
        })
    }

    /// The time that counts for caches at `now`.
    pub fn cache_time(&self, now: Time) -> Time {
        self.0.borrow().cache_stands_at.unwrap_or(now)
    }

    /// Whether an answer takes time, or never comes.
    pub fn delays(&self) -> bool {
        let state = self.0.borrow();
        state.down || state.slow > Duration::ZERO
    }

    /// Whether nobody answers.
    pub fn is_down(&self) -> bool {
        self.0.borrow().down
    }

    /// Waits as long as an answer is slow.
    pub async fn wait(&self) {
        let slow = self.0.borrow().slow;
        if slow > Duration::ZERO {
            tokio::time::sleep(slow).await;
        }
    }

    /// Whether they learn what is new, and do not answer from caches that stand still.
    pub fn may_learn(&self) -> bool {
        let state = self.0.borrow();
        !state.frozen && state.cache_stands_at.is_none()
    }

    /// Waits until they may learn.
    pub async fn thawed(&self) {
        self.wait_until(|state| !state.frozen).await;
    }

    /// Waits until they answer.
    pub async fn up(&self) {
        self.wait_until(|state| !state.down).await;
    }

    async fn wait_until(&self, wanted: impl FnMut(&State) -> bool) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(wanted).await;
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let before = *self.0.borrow();
        let mut after = before;
        change(&mut after);
        self.0.send_replace(after);
        before != after
    }
}
