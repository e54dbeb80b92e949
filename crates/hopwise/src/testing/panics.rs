//! Panics of a test's own code: caught where they happen, so that the simulation ends in order, and remembered with their
//! place in the source.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use futures_util::FutureExt;

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// Its message.
    pub message: String,
    /// `file:line:column`.
    pub at: Option<String>,
}

thread_local! {
    static LAST: RefCell<Option<Panicked>> = const { RefCell::new(None) };
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `future`; a panic in it is its error.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Panicked> {
    remember();
    AssertUnwindSafe(future).catch_unwind().await.map_err(|payload| of(payload.as_ref()))
}

/// The panic that carries `payload`, the last one of this thread.
pub fn of(payload: &(dyn Any + Send)) -> Panicked {
    if let Some(panicked) = payload.downcast_ref::<Panicked>() {
        return panicked.clone();
    }
    LAST.take().unwrap_or_else(|| Panicked { message: message_of(payload), at: None })
}

/// Goes on with a panic that was caught elsewhere, without printing it again.
pub fn resume(panicked: Panicked) -> ! {
    std::panic::resume_unwind(Box::new(panicked))
}

/// Runs `f`; panics in it are not printed: they are those of a run that has failed before.
pub fn silently<R>(f: impl FnOnce() -> R) -> R {
    let before = SILENT.replace(true);
    let result = f();
    SILENT.set(before);
    result
}

/// Makes every panic of this process remember where it came from.
fn remember() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let at = info.location().map(ToString::to_string);
            LAST.set(Some(Panicked { message: message_of(info.payload()), at }));
            if !SILENT.get() {
                print(info);
            }
        }));
    });
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_place() {
        let line = line!() + 1;
        let run = || futures_util::FutureExt::now_or_never(caught(async { panic!("no {}", 7) }));
        let caught: Result<(), Panicked> = silently(run).expect("it waits for nothing");
        let panicked = caught.expect_err("it panics");
        assert_eq!(panicked.message, "no 7");
        let at = panicked.at.expect("it has a place");
        assert!(at.contains(&format!("panics.rs:{line}:")), "{at}");
    }
}
