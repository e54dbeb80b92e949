//! The API server as the cluster's tasks see it: one store, and watches that wake when it changes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::Time;
use tokio::sync::watch;

use crate::store::{Change, Cursor, Kind, Store};

/// A handle on the API server; cloning it is cheap.
#[derive(Clone)]
pub struct Api {
    shared: Rc<Shared>,
}

struct Shared {
    store: RefCell<Store>,
    changed: watch::Sender<Cursor>,
}

/// One reader of the store's changes.
pub struct Watch {
    api: Api,
    cursor: Cursor,
    changed: watch::Receiver<Cursor>,
    kinds: &'static [Kind],
}

impl Api {
    /// An API server over `store`.
    pub fn new(store: Store) -> Self {
        let (changed, _) = watch::channel(store.cursor());
        Api { shared: Rc::new(Shared { store: RefCell::new(store), changed }) }
    }

    /// Reads the store.
    pub fn read<R>(&self, f: impl FnOnce(&Store) -> R) -> R {
        f(&self.shared.store.borrow())
    }

    /// Changes the store; watches learn of it.
    pub fn write<R>(&self, f: impl FnOnce(&mut Store, Time) -> R) -> R {
        let mut store = self.shared.store.borrow_mut();
        let result = f(&mut store, hopwise_engine::now());
        let cursor = store.cursor();
        drop(store);
        self.shared.changed.send_if_modified(|last| std::mem::replace(last, cursor) != cursor);
        result
    }

    /// A watch on objects of these kinds that has seen nothing yet.
    pub fn watch(&self, kinds: &'static [Kind]) -> Watch {
        let cursor = Cursor::default();
        Watch { api: self.clone(), cursor, changed: self.shared.changed.subscribe(), kinds }
    }
}

impl Watch {
    /// Waits until an object of these kinds has changed since the last call, then for `lag` more, in which
    /// further changes are gathered. A watch that has fallen behind the log is told that all may have changed.
    pub async fn next(&mut self, lag: Duration) -> Changes {
        loop {
            self.changed.mark_unchanged();
            if self.is_behind() {
                tokio::time::sleep(lag).await;
                return self.take();
            }
            if self.changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn is_behind(&mut self) -> bool {
        let kinds = self.kinds;
        let (behind, cursor) = self.api.read(|store| {
            let behind = match store.changes_since(self.cursor) {
                Ok(mut changes) => changes.any(|change| kinds.contains(&change.key.kind)),
                Err(_) => true,
            };
            (behind, store.cursor())
        });
        if !behind {
            self.cursor = cursor;
        }
        behind
    }

    fn take(&mut self) -> Changes {
        let kinds = self.kinds;
        let (changes, cursor) = self.api.read(|store| {
            let changes = match store.changes_since(self.cursor) {
                Ok(all) => {
                    Changes::Some(all.filter(|change| kinds.contains(&change.key.kind)).cloned().collect())
                }
                Err(_) => Changes::All,
            };
            (changes, store.cursor())
        });
        self.cursor = cursor;
        changes
    }
}

/// What a watch has seen.
pub enum Changes {
    /// These changes, oldest first.
    Some(Vec<Change>),
    /// Too many to tell: everything may have changed.
    All,
}
