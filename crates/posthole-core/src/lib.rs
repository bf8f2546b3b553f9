//! The library behind Posthole: from a configuration to mail safely on disk.
//!
//! One poll of one account is a pipe, and each arrow of it is a type that only the stage before it
//! can make:
//!
//! ```text
//! text ─config→ Config ─plan→ Job ─transport→ BoxStream ─session→ Listing ─policy→ Action
//!      ─session.retr→ body ─deliver→ Receipt ─record→ Recorded ─session.dele→ …
//!      ─session.quit→ Committed ─record.retire→ done
//! ```
//!
//! [`retrieve`] tells that story in one place. The library never prints, exits, reads the
//! environment or installs a signal handler: it asks people through [`ask::Ask`], tells what
//! happens through [`progress::Observer`], and returns errors.

pub mod ask;
#[doc(hidden)]
pub mod bench;
pub mod config;
pub mod daemon;
pub mod deliver;
mod dns;
pub mod durable;
pub mod error;
pub mod exec;
pub mod fetchmailrc;
pub mod forward;
#[doc(hidden)]
pub mod fuzz;
pub mod link;
pub mod message;
pub mod openssh;
pub mod plan;
pub mod policy;
pub mod process_group;
pub mod progress;
pub mod record;
pub mod retrieve;
pub mod secret;
pub mod session;
pub mod transport;
pub mod tunnel;
mod vault;

#[cfg(test)]
mod limits;
