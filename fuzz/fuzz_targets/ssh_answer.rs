//! Reads what `ssh -G` prints; the body is a function of the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_core::fuzz::ssh_answer(data));
