//! A program in a namespace of its own whose interface is tapped into the fabric.

use std::io;
use std::path::Path;

use hopwise_fabric::{DeviceId, NoTap, Tap, Tapped};
use hopwise_namespace::{Buffer, Device, Directory, NamespaceError, Offload, Program, Setup};

use super::etc;

/// The interface's MTU in bytes: the fabric's hosts send no longer packets.
const MTU: u16 = 1500;
/// How many packets are read at once before others have their turn.
const AT_ONCE_MAX: usize = 64;
/// The status of a command whose namespace was killed: 128 and the number of SIGKILL.
const KILLED: u8 = 137;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// Somebody else's program stands there.
    #[error(transparent)]
    Taken(#[from] NoTap),
    /// No namespace can be had.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// A program, and the two ends that packets are carried between. Dropping it ends the program.
pub(super) struct Session {
    program: Program,
    device: Device,
    tap: Tap,
}

impl Session {
    /// Prepares `command` at a device of the fabric; it does not run yet. `executable` plays the helpers' parts.
    pub fn set_up(
        executable: &Path,
        device: DeviceId,
        host_name: &str,
        command: Vec<String>,
        directories: Vec<Directory>,
    ) -> Result<Session, SessionError> {
        let tap = Tap::open(device)?;
        let (program, device) = Program::set_up(executable, &setup(device, host_name, command, directories))?;
        Ok(Session { program, device, tap })
    }

    /// Starts the program.
    pub fn start(&mut self) -> io::Result<()> {
        self.program.start()
    }

    /// The TCP ports on which something listens in the namespace.
    pub fn listening(&self) -> Vec<u16> {
        self.program.listening()
    }

    /// Carries packets until the program ends; its status.
    pub async fn wait(&mut self) -> io::Result<u8> {
        let Session { program, device, tap } = self;
        let status = tokio::select! {
            status = program.wait() => status?,
            error = carry(device, tap) => return Err(error),
        };
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(KILLED))
    }
}

/// What the command finds at the device.
fn setup(device: DeviceId, host_name: &str, command: Vec<String>, directories: Vec<Directory>) -> Setup {
    let (addresses, resolver) = hopwise_fabric::with(|fabric| {
        let stack = fabric.device_mut(device).and_then(|device| device.stack_mut());
        (stack.map(|stack| stack.addresses().to_vec()).unwrap_or_default(), fabric.resolver(device))
    });
    let files = etc::files(host_name, &addresses, &resolver);
    Setup { host_name: host_name.to_owned(), addresses, mtu: MTU, files, directories, command }
}

/// Carries packets both ways until the device fails.
async fn carry(device: &Device, tap: &Tap) -> io::Error {
    let mut buffer = Buffer::default();
    loop {
        let carried = tokio::select! {
            packet = tap.receive() => give_all(device, tap, packet),
            packet = device.receive(&mut buffer) => packet.map(|packet| send(tap, packet)),
        };
        if let Err(error) = carried.and_then(|()| take_more(device, tap, &mut buffer)) {
            return error;
        }
    }
}

/// Gives the program a packet, and all that have arrived beside it.
fn give_all(device: &Device, tap: &Tap, packet: Tapped) -> io::Result<()> {
    let mut next = Some(packet);
    while let Some(Tapped { bytes, unfinished, segment_size }) = next {
        let checksum = unfinished.map(|unfinished| (unfinished.start, unfinished.offset));
        device.send(&bytes, Offload { segment_size, checksum })?;
        next = tap.try_receive();
    }
    Ok(())
}

/// Takes what the program has sent in the meantime.
fn take_more(device: &Device, tap: &Tap, buffer: &mut Buffer) -> io::Result<()> {
    for _ in 0..AT_ONCE_MAX {
        let Some(packet) = device.try_receive(buffer)? else { break };
        send(tap, packet);
    }
    Ok(())
}

fn send(tap: &Tap, (packet, offload): (&[u8], Offload)) {
    // What the fabric does not carry (fragments, for instance) is lost on the way.
    let _ = tap.send(packet, offload.segment_size);
}
