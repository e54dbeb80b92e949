//! Signs of life on a terminal while something takes longer than a second.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Console;

/// What ends sooner needs no sign.
const PATIENCE: Duration = Duration::from_secs(1);
/// From one picture to the next.
const TICK: Duration = Duration::from_millis(120);

/// A spinner with the time so far on standard error, from a second on until this is dropped.
pub struct Progress {
    /// Its end wakes the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins; nothing is shown where no terminal is, or people asked for quiet.
    pub fn begin(message: &str, console: Console) -> Progress {
        if console.quiet || !std::io::stderr().is_terminal() {
            return Progress { stop: None, thread: None };
        }
        let (stop, stopped) = channel();
        let message = message.to_owned();
        let thread = std::thread::spawn(move || {
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let spinner = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed} so far");
            spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            spinner.set_elapsed(PATIENCE);
            spinner.set_message(message);
            spinner.enable_steady_tick(TICK);
            let _ = stopped.recv();
            spinner.finish_and_clear();
        });
        Progress { stop: Some(stop), thread: Some(thread) }
    }

    /// Ends; the line is gone when this returns.
    pub fn end(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that could not draw has nothing to say.
            let _ = thread.join();
        }
    }
}
