//! Polls against POP3 servers in process: what ends up on disk, on the server and on record.

mod account;
mod cut;
mod order;
mod ordinary;
mod pipelining;
mod trouble;
