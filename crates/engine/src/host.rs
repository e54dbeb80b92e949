//! Hosts: who a task belongs to.
//!
//! Every task of a simulation belongs to a host (a pod, a machine); what it spawns, by `tokio::spawn`,
//! `spawn_local` or [`spawn`], belongs to the same host. A host that is killed never comes back under the same
//! id: whatever its tasks still hold (sockets above all) belongs to a dead host, whose calls never return and
//! reach nobody. Tasks spawned by [`spawn`] are dropped at the same instant of virtual time.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::ready;

use rustc_hash::FxHashMap;
use tokio::task::{AbortHandle, JoinHandle};

use crate::scheduling::{self, Turn};
use crate::turns;

/// A host of the running simulation. Ids are given in order of creation and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HostId(u32);

impl HostId {
    /// The simulation itself: the main future, and everything outside a simulation.
    pub const ROOT: HostId = HostId(0);

    /// Its number.
    pub const fn index(self) -> u32 {
        self.0
    }
}

#[derive(Default)]
struct Hosts {
    hosts: Vec<Host>,
    /// Whether each is alive. Every call of a socket asks, so the answers lie close together.
    alive: Vec<bool>,
    of_task: FxHashMap<tokio::task::Id, HostId>,
    /// Tasks that have not ended, also those of the root.
    tasks: usize,
}

struct Host {
    name: Arc<str>,
    tasks: Vec<AbortHandle>,
}

/// What a panic carries.
type Panic = Box<dyn Any + Send>;

impl Hosts {
    fn add(&mut self, name: &str) {
        self.hosts.push(Host { name: name.into(), tasks: Vec::new() });
        self.alive.push(true);
    }
}

thread_local! {
    static CURRENT: Cell<HostId> = const { Cell::new(HostId::ROOT) };
    static PANIC: RefCell<Option<Panic>> = const { RefCell::new(None) };
    static HOSTS: RefCell<Hosts> = RefCell::new(Hosts::default());
}

/// The host of the task (or of the scope) that is running.
pub fn current() -> HostId {
    CURRENT.get()
}

/// Creates a host called `name`.
pub fn create(name: &str) -> HostId {
    HOSTS.with_borrow_mut(|hosts| {
        let id = u32::try_from(hosts.hosts.len()).expect("fewer than 2^32 hosts");
        hosts.add(name);
        HostId(id)
    })
}

/// The name that `host` was created with.
pub fn name(host: HostId) -> Arc<str> {
    HOSTS.with_borrow(|hosts| match hosts.hosts.get(host.0 as usize) {
        Some(host) => host.name.clone(),
        None => Arc::from("root"),
    })
}

/// Whether `host` has not been killed.
pub fn is_alive(host: HostId) -> bool {
    HOSTS.with_borrow(|hosts| hosts.alive.get(host.0 as usize).is_none_or(|alive| *alive))
}

/// Runs `f` as `host`: what it spawns and opens belongs to that host.
pub fn within<R>(host: HostId, f: impl FnOnce() -> R) -> R {
    struct Restore(HostId);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(host));
    f()
}

/// Spawns `future` on `host`; it is dropped when the host is killed.
pub fn spawn_on<F>(host: HostId, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    within(host, || spawn(future))
}

/// Spawns `future` on the current host; it is dropped when the host is killed.
///
/// Unlike `tokio::spawn` it takes futures that are not `Send`.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let handle = tokio::task::spawn_local(keeping_panics(future));
    HOSTS.with_borrow_mut(|hosts| {
        let current = CURRENT.get().0 as usize;
        if let Some(host) = hosts.hosts.get_mut(current) {
            if host.tasks.len() >= 64 && host.tasks.len().is_power_of_two() {
                host.tasks.retain(|task| !task.is_finished());
            }
            if hosts.alive[current] {
                host.tasks.push(handle.abort_handle());
            } else {
                handle.abort();
            }
        }
    });
    handle
}

/// Runs `future` as its host gets its turns, and keeps a panic of it for [`or_panic_of_a_task`].
async fn keeping_panics<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut turn = Turn::default();
    poll_fn(|cx| {
        ready!(turn.poll(cx));
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                PANIC.with_borrow_mut(|kept| {
                    kept.get_or_insert(panic);
                });
                resume_unwind(Box::new("a task of the simulation panicked"));
            }
        }
    })
    .await
}

/// Runs the simulation by `run`; the error is the panic of the task that ended it.
pub(crate) fn or_panic_of_a_task<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| PANIC.take().unwrap_or(panic))
}

/// Kills `host`: its tasks stop here and now. The caller decides what the network sees of it.
pub fn kill(host: HostId) {
    assert_ne!(host, HostId::ROOT, "the simulation itself cannot be killed");
    let tasks = HOSTS.with_borrow_mut(|hosts| {
        hosts.alive[host.0 as usize] = false;
        std::mem::take(&mut hosts.hosts[host.0 as usize].tasks)
    });
    for task in tasks {
        task.abort();
    }
    scheduling::forget(host);
}

/// Forgets all hosts and starts over with the root only.
pub(crate) fn reset() {
    CURRENT.set(HostId::ROOT);
    scheduling::reset();
    HOSTS.with_borrow_mut(|hosts| {
        *hosts = Hosts::default();
        hosts.add("root");
    });
}

/// Installs the hooks by which every task inherits its spawner's host.
pub(crate) fn install_hooks(builder: &mut tokio::runtime::Builder) {
    builder.on_task_spawn(|task| {
        let host = CURRENT.get();
        HOSTS.with_borrow_mut(|hosts| {
            hosts.tasks += 1;
            if host != HostId::ROOT {
                hosts.of_task.insert(task.id(), host);
            }
        });
    });
    builder.on_before_task_poll(|task| {
        let (host, tasks) = HOSTS.with_borrow(|hosts| (hosts.of_task.get(&task.id()).copied(), hosts.tasks));
        let host = host.unwrap_or(HostId::ROOT);
        turns::count(host, tasks);
        CURRENT.set(host);
    });
    builder.on_after_task_poll(|_| CURRENT.set(HostId::ROOT));
    builder.on_task_terminate(|task| {
        HOSTS.with_borrow_mut(|hosts| {
            // Tasks of a runtime that is dropped may outlive its hosts.
            hosts.tasks = hosts.tasks.saturating_sub(1);
            hosts.of_task.remove(&task.id());
        });
    });
}
