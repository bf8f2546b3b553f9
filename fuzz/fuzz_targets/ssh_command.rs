//! Reads the ssh commands of preconnect and plugin; the body is a function of the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_core::fetchmailrc::fuzz::ssh_command(data));
