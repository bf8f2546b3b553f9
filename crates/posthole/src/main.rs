//! Posthole, the program.
fn main() {}
