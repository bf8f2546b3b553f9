//! Sessions of a POP3 client, written down as what each side says.

#[path = "pop3/auth.rs"]
mod auth;
#[path = "pop3/faults.rs"]
mod faults;
#[path = "pop3/large.rs"]
mod large;
#[path = "pop3/sessions.rs"]
mod sessions;
#[path = "pop3/transcript.rs"]
mod transcript;
#[path = "pop3/untrusted.rs"]
mod untrusted;
