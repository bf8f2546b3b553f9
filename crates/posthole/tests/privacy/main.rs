//! What gets out of the program by ways that nobody watches: to the programs that it starts, into
//! files and logs, and to whoever looks into its memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod children;
mod memory;
mod secrets;
mod world;
