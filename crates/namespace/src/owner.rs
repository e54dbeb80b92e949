//! The owner's end of a namespace: its program.

use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::sockopt::socket_peercred;
use tokio::process::{Child, Command};

use crate::control::{SetupError, receive_device};
use crate::{Device, INSIDE, Setup};

/// Why there is no namespace.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The helper cannot be started or spoken to.
    #[error("the helper process: {0}")]
    Helper(#[from] io::Error),
    /// The system does not give what is needed.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// The program of a namespace. Dropping it ends the program, all that it has started, and the namespace.
#[derive(Debug)]
pub struct Program {
    owner: UnixStream,
    helper: Child,
}

impl Program {
    /// Makes a namespace; `executable` is one that calls [`helper`](crate::helper). The program does not run until
    /// [`Program::start`]. It needs a tokio runtime with I/O, and blocks for a few milliseconds.
    ///
    /// # Errors
    /// What is missing: user namespaces, the TUN device, rights.
    pub fn set_up(executable: &Path, setup: &Setup) -> Result<(Program, Device), NamespaceError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // An abstract name leaves no file behind (unix(7)).
        let name = format!("hopwise-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        let mut helper = Command::new(executable).arg(INSIDE).arg(&name).kill_on_drop(true).spawn()?;
        let mut owner = accept(&listener, &mut helper)?;
        let mut line = serde_json::to_vec(setup).map_err(io::Error::other)?;
        line.push(b'\n');
        owner.write_all(&line)?;
        let device = receive_device(&mut owner)??;
        Ok((Program { owner, helper }, Device::new(device)?))
    }

    /// Starts the program.
    ///
    /// # Errors
    /// If the helper is gone.
    pub fn start(&mut self) -> io::Result<()> {
        self.owner.write_all(&[1])
    }

    /// The TCP ports on which something listens in the namespace; none once the program has ended. Source: proc_net_tcp
    /// (the kernel's Documentation/networking/proc_net_tcp.rst).
    pub fn listening(&self) -> Vec<u16> {
        let Some(helper) = self.helper.id() else { return Vec::new() };
        let tables =
            ["tcp", "tcp6"].map(|table| std::fs::read_to_string(format!("/proc/{helper}/net/{table}")));
        let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
        lines.filter_map(listener).collect()
    }

    /// Waits until the program ends. Its status is the program's, 128 and a signal's number, 127 if there is no such
    /// program, 126 if it cannot be run.
    ///
    /// # Errors
    /// As `tokio::process::Child::wait`.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.helper.wait().await
    }
}

/// The port of a line of `/proc/net/tcp`, if it is about a listening socket.
fn listener(line: &str) -> Option<u16> {
    /// `TCP_LISTEN` (include/net/tcp_states.h).
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    let (_, port) = local.rsplit_once(':')?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

/// Waits for the helper itself; others who know the name are turned away.
#[expect(clippy::disallowed_methods, reason = "no simulated time passes until the namespace is there")]
fn accept(listener: &UnixListener, helper: &mut Child) -> io::Result<UnixStream> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let peer = socket_peercred(&stream)?;
                if Some(peer.pid.as_raw_nonzero().get().unsigned_abs()) == helper.id() {
                    stream.set_nonblocking(false)?;
                    return Ok(stream);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Some(status) = helper.try_wait()? {
                    return Err(io::Error::other(format!("it ended with {status} before it was ready")));
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::listener;

    #[test]
    fn ports_of_listening_sockets_are_told_from_others() {
        let of = |local: &str, state: &str| {
            listener(&format!("   0: {local} 00000000:0000 {state} 00000000:00000000"))
        };
        assert_eq!(of("00000000:1F90", "0A"), Some(8080));
        assert_eq!(of("00000000000000000000000000000000:0050", "0A"), Some(80));
        assert_eq!(of("0100007F:1F90", "01"), None, "established");
        assert_eq!(listener("  sl  local_address"), None);
    }
}
