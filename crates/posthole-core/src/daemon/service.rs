//! What runs beside the polls.
//!
//! The metrics do, and forwards: things that follow the configuration, live as long as the daemon,
//! and have a line in `status`, but no poll.

use super::Handle;
use super::status::ServiceStatus;
use crate::plan::Plan;

/// Something that runs beside the polls, on the daemon's thread.
///
/// It starts tasks of its own with `tokio::task::spawn_local`, and ends them when it is dropped.
/// None of its methods may block or take long.
pub trait Service {
    /// Does from now on what the plan says: called at the start, and after each reload.
    ///
    /// What the new plan leaves unchanged is left alone.
    fn configure(&mut self, plan: &Plan, handle: &Handle);

    /// Tries again what failed: somebody has done something about it.
    fn forgive(&mut self) {}

    /// Gives up connections that are dead: the machine has slept, or the network has changed.
    fn probe(&mut self) {}

    /// How it is: a line for each thing that a person would count.
    fn status(&self) -> Vec<ServiceStatus>;
}
