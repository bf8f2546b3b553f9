//! What the process asks of the kernel before it starts to work.
//!
//! Each of these only makes things better, so none is an error when it is refused.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::Mode;
use rustix::process::{Resource, getrlimit, setrlimit, umask};
use signal_hook::consts::SIGXFSZ;

/// Sets the limits of this process.
pub(crate) fn set() {
    keep_descriptors();
    raise_open_files();
    forbid_core_dumps();
    survive_large_files();
    keep_own_rights();
}

/// Keeps to ourselves what whoever started us left open: the programs that we start get none of it.
///
/// Sockets of systemd are among them, and are for us.
fn keep_descriptors() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// How many files this process may have open.
pub(crate) fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit
        .and_then(|limit| limit.try_into().ok())
        .unwrap_or(usize::MAX)
}

/// Raises the soft limit on open files to the hard one.
///
/// The usual soft limit of 1024 exists for programs that use select(2); hundreds of accounts with
/// a connection, a lock and some files each would reach it.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if let Some(before) = limit.current {
        // Programs that we start may be of that kind.
        posthole_core::exec::limit_open_files(before);
    }
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).ok();
}

/// Keeps passwords out of core dumps.
///
/// The limit alone is not enough, since core(5) ignores it when dumps are piped to a program.
fn forbid_core_dumps() {
    let mut limit = getrlimit(Resource::Core);
    limit.current = Some(0);
    setrlimit(Resource::Core, limit).ok();
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).ok();
}

/// Makes a file that may not grow any further an error, like a full disk (RLIMIT_FSIZE).
///
/// The kernel would end the process in the middle of it. The signal is caught and not ignored:
/// programs that we start would inherit that.
fn survive_large_files() {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).ok();
}

/// Keeps the umask from taking from us what we make. What it takes from others stays.
fn keep_own_rights() {
    let before = umask(Mode::RWXG | Mode::RWXO);
    umask(before.difference(Mode::RWXU));
}
