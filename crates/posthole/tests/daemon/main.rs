//! `posthole daemon` as its users run it, against servers in process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod background;
mod contrib;
mod control;
mod ending;
mod forwards;
mod machines;
mod many;
mod questions;
mod reload;
mod world;
