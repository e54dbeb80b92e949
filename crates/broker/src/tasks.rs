//! The tasks of one broker: they end together, at the instant the broker is dropped.
//!
//! A task that is marked as aborted is never polled again, so nothing of a killed broker reaches its volume
//! or the network afterwards, whatever task was about to run.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use crate::processor::Processor;

/// Where a broker's tasks are started.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    processor: Processor,
}

/// Ends every task of a broker when dropped.
pub(crate) struct TasksGuard(Tasks);

impl Tasks {
    /// Tasks that get what their process gets of the processor.
    pub fn new(processor: Processor) -> Tasks {
        Tasks { set: Arc::default(), processor }
    }

    /// The guard whose end is the end of all tasks.
    pub fn guard(&self) -> TasksGuard {
        TasksGuard(self.clone())
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.spawn(self.processor.scheduled(hopwise_engine::scheduling::scheduled(task)));
        while let Some(finished) = set.try_join_next() {
            if let Err(error) = finished
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the broker failed");
            }
        }
    }
}

impl Drop for TasksGuard {
    fn drop(&mut self) {
        self.0.set.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}
