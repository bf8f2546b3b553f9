//! From what was written to what will be done.

use std::path::Path;

use super::{Environment, Overrides, Plan};
use crate::config::{Config, Diagnostic};

/// A configuration file that was read without errors.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// Where it is; its relative paths start in its directory.
    pub path: &'a Path,
    /// What it says.
    pub config: &'a Config,
}

/// Works out what will be done.
///
/// # Errors
/// All problems at once. Their spans are places in the configuration file; a problem without one
/// is about the command line or the environment.
pub fn resolve(
    file: Option<ConfigFile<'_>>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Plan, Vec<Diagnostic>> {
    let _ = (file, overrides, environment);
    Err(Vec::new())
}
