//! A process group that does not outlive us.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// The group that a child leads, killed on drop.
///
/// The child must have been started with a group of its own.
#[derive(Debug)]
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    /// The group of a child that was just started.
    #[must_use]
    pub fn of(child: &Child) -> Self {
        Self(
            child
                .id()
                .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)),
        )
    }

    /// Tells all in the group that their terminal is gone.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Asks all in the group to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// What a program that ended well left in the background is there on purpose.
    pub fn leave_alone(mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // An error says that nobody is left in it.
            let _: rustix::io::Result<()> = kill_process_group(group, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
