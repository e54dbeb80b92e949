//! One seed, on a thread of its own.
//!
//! A seed has a fresh thread: what a simulation keeps in thread-locals is gone with it, so that nothing of one seed
//! reaches the next, and the row of a seed is the same whatever ran before it. A panic is caught on that thread: it is a
//! row like any other. Processes would also outlive an abort (a stack that overflows, no memory left), at the price of
//! reading all inputs again for each; a sweep that dies so resumes, and dies at the same seed, which its last progress
//! names.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::thread;

use super::row::{Identity, SeedRow};
use crate::run::{LoadedScenario, RunOptions, run_scenario};

/// As much as a program's first thread has on Linux, where `hopwise run` runs the same seed.
const STACK_BYTES: usize = 8 << 20;

thread_local! {
    /// Where the first panic of a seed's thread goes instead of to standard error; none on other threads.
    static PANIC: RefCell<Option<Caught>> = const { RefCell::new(None) };
}

/// The first panic, if there was one: its message and place.
#[derive(Default)]
struct Caught(Option<String>);

/// Runs one seed to its row.
pub(super) fn run(scenario: &Arc<LoadedScenario>, seed: u64, sweep: &Identity) -> SeedRow {
    let loaded = scenario.clone();
    let options = RunOptions { seed: Some(seed), ..RunOptions::default() };
    let ended = on_a_thread(seed, move || run_scenario(LoadedScenario::clone(&loaded), options));
    let name = &scenario.scenario.name;
    match ended {
        Ok(ended) => SeedRow::of(ended, seed, name, sweep),
        Err(panic) => SeedRow::of_panic(panic, seed, name, sweep),
    }
}

/// Does `work` on a thread of its own.
///
/// # Errors
/// What a panic there says, with its place.
fn on_a_thread<T: Send + 'static>(seed: u64, work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let thread = thread::Builder::new().name(format!("seed {seed}")).stack_size(STACK_BYTES);
    let spawned = thread.spawn(move || {
        catch_messages();
        // The thread ends after this, and with it all that a panic may have left half done.
        catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
            let told = PANIC.with_borrow_mut(|caught| caught.take()).and_then(|caught| caught.0);
            told.unwrap_or_else(|| message_of(&*payload))
        })
    });
    match spawned.map(thread::JoinHandle::join) {
        Ok(Ok(ended)) => ended,
        Ok(Err(payload)) => Err(message_of(&*payload)),
        Err(error) => Err(format!("no thread can be started: {error}")),
    }
}

/// Keeps what panics of this thread say, with their place, for the row; those of other threads go where they went.
fn catch_messages() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A thread that is ending may have no such place any more.
            let is_caught = PANIC.try_with(|caught| match &mut *caught.borrow_mut() {
                Some(Caught(first)) => {
                    first.get_or_insert_with(|| describe(panic));
                    true
                }
                None => false,
            });
            if !is_caught.unwrap_or(false) {
                previous(panic);
            }
        }));
    });
    PANIC.set(Some(Caught::default()));
}

fn describe(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let message = message_of(panic.payload());
    match panic.location() {
        Some(place) => format!("{message} ({}:{})", place.file(), place.line()),
        None => message,
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_and_touches_no_other_thread() {
        let panicked = on_a_thread(1, || -> u32 { panic!("broker {} is gone", 2) });
        let told = panicked.expect_err("it panics");
        assert!(told.starts_with("broker 2 is gone (crates/lab/src/sweep/one_seed.rs:"), "{told}");
        assert_eq!(on_a_thread(2, || 5), Ok(5));
    }

    #[test]
    fn the_panic_of_a_task_in_a_simulation_is_told_too() {
        let told = on_a_thread(3, || {
            let run = hopwise_engine::Simulation::new(1).run(hopwise_fabric::FabricWorld, || async {
                hopwise_engine::host::spawn(async { panic!("a task is broken") });
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            });
            run.map_err(|error| error.to_string())
        });
        let told = told.expect_err("it panics");
        assert!(told.starts_with("a task is broken (crates/lab/src/sweep/one_seed.rs:"), "{told}");
    }
}
