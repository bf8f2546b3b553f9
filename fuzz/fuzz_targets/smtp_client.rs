//! Feeds an SMTP client with server octets, and a text encoder with texts; the body is a function of
//! the crate.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| posthole_proto::fuzz::smtp_client(data));
