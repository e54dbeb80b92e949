//! The first helper: makes the namespaces and all that is in them, hands the device to the owner, and starts init.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Command, ExitCode, ExitStatus};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Signal, getgid, getuid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::control::{SetupError, read_line, send_device};
use crate::{INIT, Setup, files, interface};

/// The status of a helper that could not do its part; the owner knows why.
const FAILED: u8 = 125;

pub(crate) fn run(socket: &OsStr) -> ExitCode {
    match set_up_and_run(socket) {
        Ok(status) => exit_code(status),
        Err(error) => {
            // The owner is gone, or nobody can be told any more.
            eprintln!("hopwise: inside the namespace: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// The status in the words of a shell: that of the program, or 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED))
}

fn set_up_and_run(socket: &OsStr) -> io::Result<ExitStatus> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut owner = UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket.as_bytes())?)?;
    let setup: Setup = serde_json::from_slice(&read_line(&mut owner)?)?;
    match prepare(&setup) {
        Ok(device) => send_device(&owner, device.as_fd())?,
        Err(error) => {
            let mut line = serde_json::to_vec(&error)?;
            line.push(b'\n');
            owner.write_all(&line)?;
            return Err(io::Error::other(error.to_string()));
        }
    }
    owner.read_exact(&mut [0])?;
    let _signals = leave_signals_to_the_program()?;
    let own_pid = std::process::id().to_string();
    Command::new("/proc/self/exe").arg(INIT).arg(own_pid).args(&setup.command).status()
}

/// A terminal sends its signals to all processes in the foreground; what they mean is up to the program. Init has no
/// handlers and so hears of none (pid_namespaces(7)).
fn leave_signals_to_the_program() -> io::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    drop(entered);
    Ok(runtime)
}

/// Makes namespaces, files and the interface.
fn prepare(setup: &Setup) -> Result<tun_rs::SyncDevice, SetupError> {
    enter()?;
    nix::unistd::sethostname(&setup.host_name)
        .map_err(|error| failed("naming the host", &error, "the kernel must have UTS namespaces"))?;
    files::replace(&setup.files).map_err(|error| {
        failed("replacing files in /etc", &error, "mounts must be allowed in a user namespace")
    })?;
    for directory in &setup.directories {
        files::cover(directory).map_err(|error| {
            let step = format!("mounting over {}", directory.path.display());
            failed(&step, &error, "it must be a directory, and mounts must be allowed in a user namespace")
        })?;
    }
    let device = tun_rs::DeviceBuilder::new().name(interface::NAME).mtu(setup.mtu);
    let device = device.with(|options| {
        options.offload(true);
    });
    let device = device.build_sync();
    let device = device.map_err(|error| {
        failed(
            "opening /dev/net/tun",
            &error,
            "let users open it (chmod 666 /dev/net/tun), load the module (modprobe tun) or, in a container, give it the \
             device (--device /dev/net/tun)",
        )
    })?;
    interface::configure(&setup.addresses)
        .map_err(|error| failed("configuring the interface", &error, "the kernel must support rtnetlink"))?;
    Ok(device)
}

fn failed(step: &str, error: &dyn std::fmt::Display, advice: &str) -> SetupError {
    SetupError { step: step.to_owned(), error: error.to_string(), advice: advice.to_owned() }
}

/// Enters new namespaces. Root needs no user namespace, and may be where there are none.
fn enter() -> Result<(), SetupError> {
    let (uid, gid) = (getuid(), getgid());
    let own = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS;
    let advice = "allow unprivileged user namespaces (sysctl user.max_user_namespaces, \
                  kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0), or run as root; \
                  in a container CAP_SYS_ADMIN is needed";
    if uid.is_root() && unshare(own).is_ok() {
        return Ok(());
    }
    unshare(own | CloneFlags::CLONE_NEWUSER).map_err(|error| failed("making namespaces", &error, advice))?;
    let map = |file: &str, text: String| {
        std::fs::write(file, text).map_err(|error| failed(&format!("writing {file}"), &error, advice))
    };
    // A process without privileges may map its group only once nobody can change groups (user_namespaces(7)).
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/uid_map", format!("{uid} {uid} 1\n", uid = uid.as_raw()))?;
    map("/proc/self/gid_map", format!("{gid} {gid} 1\n", gid = gid.as_raw()))
}
