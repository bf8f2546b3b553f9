//! Feeds a POP3 client with commands and server octets; the body is a function of the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_proto::fuzz::pop3_client(data));
