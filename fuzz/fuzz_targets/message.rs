//! Changes messages and finds in them whom they are for; the body is a function of the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_core::fuzz::message(data));
