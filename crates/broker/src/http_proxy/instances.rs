//! Consumer instances: they live in the memory of the broker that made them, and die when they are idle.
//!
//! Another broker does not know them (redpanda.md 3.3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::error::{ErrorCode, ProxyError};
use super::format::Format;
use crate::kafka_client::group::Consumer;
use crate::tasks::Tasks;

/// Instances of one broker.
const INSTANCES_MAX: usize = 1000;

/// Group and name.
type InstanceKey = (String, String);

/// A consumer and what it was made with.
pub(super) struct Instance {
    pub consumer: Arc<Consumer>,
    pub format: Format,
    /// Bytes that a fetch waits for.
    pub bytes_min: i32,
    /// How long a fetch waits, unless it says otherwise.
    pub timeout: Duration,
    used: Mutex<Instant>,
}

impl Instance {
    pub fn new(consumer: Arc<Consumer>, format: Format, bytes_min: i32, timeout: Duration) -> Instance {
        Instance { consumer, format, bytes_min, timeout, used: Mutex::new(Instant::now()) }
    }

    fn used(&self) -> MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The instances of this broker.
pub(super) struct Instances {
    table: Mutex<BTreeMap<InstanceKey, Arc<Instance>>>,
    idle_max: Duration,
    tasks: Tasks,
}

impl Instances {
    pub fn new(idle_max: Duration, tasks: Tasks) -> Arc<Instances> {
        Arc::new(Instances { table: Mutex::default(), idle_max, tasks })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<InstanceKey, Arc<Instance>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an instance and enters it.
    ///
    /// # Errors
    /// 40902, or 429 if there are too many.
    pub fn add(
        self: &Arc<Self>,
        group: &str,
        name: &str,
        make: impl FnOnce() -> Instance,
    ) -> Result<(), ProxyError> {
        let key = (group.to_owned(), name.to_owned());
        let instance = {
            let mut table = self.table();
            if table.contains_key(&key) {
                let message = format!("Consumer instance '{name}' of group '{group}' exists already");
                return Err(ProxyError::new(ErrorCode::ConsumerExists, message));
            }
            if table.len() >= INSTANCES_MAX {
                let message =
                    format!("the broker has {INSTANCES_MAX} consumer instances; delete those that are idle");
                return Err(ProxyError::http(StatusCode::TOO_MANY_REQUESTS, message));
            }
            let instance = Arc::new(make());
            table.insert(key.clone(), Arc::clone(&instance));
            instance
        };
        let instances = Arc::clone(self);
        self.tasks.spawn(async move { instances.expire(key, instance).await });
        Ok(())
    }

    /// The instance, which is in use from now.
    ///
    /// # Errors
    /// 40403.
    pub fn get(&self, group: &str, name: &str) -> Result<Arc<Instance>, ProxyError> {
        let found = self.table().get(&(group.to_owned(), name.to_owned())).cloned();
        let instance = found.ok_or_else(|| missing(group, name))?;
        *instance.used() = Instant::now();
        Ok(instance)
    }

    /// Ends an instance.
    ///
    /// # Errors
    /// 40403.
    pub fn remove(&self, group: &str, name: &str) -> Result<(), ProxyError> {
        let removed = self.table().remove(&(group.to_owned(), name.to_owned()));
        removed.ok_or_else(|| missing(group, name))?.consumer.close();
        Ok(())
    }

    /// Waits until the instance has been idle for too long, or is gone.
    async fn expire(&self, key: InstanceKey, instance: Arc<Instance>) {
        loop {
            let due = *instance.used() + self.idle_max;
            if due <= Instant::now() {
                break;
            }
            sleep_until(due).await;
            if !self.table().get(&key).is_some_and(|current| Arc::ptr_eq(current, &instance)) {
                return;
            }
        }
        let (group, name) = &key;
        tracing::info!(group, name, "a consumer instance was idle for too long");
        // It may have been deleted meanwhile.
        let _ = self.remove(group, name);
    }
}

fn missing(group: &str, name: &str) -> ProxyError {
    let message = format!(
        "Consumer instance '{name}' of group '{group}' is not known to this broker; an instance lives on the \
         broker that its base_uri names"
    );
    ProxyError::new(ErrorCode::ConsumerNotFound, message)
}
