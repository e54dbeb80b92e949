//! Who hears the signals of the terminal.

use std::fs::File;

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// Whether a terminal sends its signals to this process, and with it to the programs that it has started: its process group
/// is the one in the foreground of the terminal that the process belongs to (termios(3), tcgetpgrp(3)).
pub fn in_foreground() -> bool {
    let Ok(terminal) = File::open("/dev/tty") else { return false };
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
}
