//! The secrets of TLS connections, so that captures of them can be read.
//!
//! A simulation runs on one thread, and so does whoever wants its secrets: they go to the thread's own sink while one is
//! set, and nowhere otherwise. The server's end tells them; the client's would tell the same again.
//!
//! Format: RFC 9850, "The SSLKEYLOGFILE Format for TLS": `LABEL CLIENT_RANDOM SECRET`, in hexadecimal, a line each.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;

/// Takes one line, without its end.
pub type KeySink = Box<dyn FnMut(&str) -> io::Result<()>>;

thread_local! {
    static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
}

struct Sink {
    line: KeySink,
    /// The first error; after it nothing more is told.
    failed: Option<io::Error>,
}

/// Gives the secrets of connections that this thread's servers accept from now on to `sink`.
pub fn log_keys_to(sink: KeySink) {
    SINK.with(|current| current.replace(Some(Sink { line: sink, failed: None })));
}

/// Ends that.
///
/// # Errors
/// The first error of the sink.
pub fn stop_logging_keys() -> io::Result<()> {
    match SINK.with(RefCell::take).and_then(|sink| sink.failed) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Tells the sink of the thread on which the handshake is.
#[derive(Debug)]
pub(super) struct ThreadKeyLog;

impl rustls::KeyLog for ThreadKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        SINK.with(|sink| {
            let mut sink = sink.borrow_mut();
            let Some(Sink { line, failed: failed @ None }) = sink.as_mut() else { return };
            *failed = line(&format!("{label} {} {}", hex(client_random), hex(secret))).err();
        });
    }

    fn will_log(&self, _label: &str) -> bool {
        SINK.with(|sink| sink.borrow().is_some())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
