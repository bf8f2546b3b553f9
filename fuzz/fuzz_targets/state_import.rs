//! Reads what other programs remember of mail; the body is a function of the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_core::fuzz::state_import(data));
