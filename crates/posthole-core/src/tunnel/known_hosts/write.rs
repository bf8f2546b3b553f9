//! Adding a key to a known_hosts file.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::BASE64;
use russh::keys::ssh_key::rand_core::Rng;

use crate::durable;
use crate::transport::dial::plain;

use super::KnownHostsError;
use super::line::{Line, host_hash};
use super::shown::{HostKey, key_fields};

/// Adds a host key to a file, making file (0600) and directory (0700) if they are missing.
///
/// The host name is hashed if `hash` says so (`HashKnownHosts` of ssh_config(5)), and also if the
/// file holds hashed names already; otherwise it stands in plain sight. The line is appended in one
/// write and synced, so it cannot mingle with what an `ssh` adds at the same time, other lines are
/// never rewritten, and a link to a file elsewhere stays a link. A last line without an end is
/// ended first.
///
/// # Errors
///
/// The file could not be written; other lines are as they were.
pub fn append(file: &Path, key: &HostKey, hash: bool) -> Result<(), KnownHostsError> {
    write_line(file, key, hash).map_err(|error| KnownHostsError::Write {
        path: file.to_owned(),
        problem: match error.downcast_ref::<io::Error>() {
            Some(error) => plain(error),
            None => error.to_string(),
        },
    })
}

fn write_line(path: &Path, key: &HostKey, hash: bool) -> Result<(), Box<dyn Error>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    durable::create_dir(directory)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;

    let mut lines = text.split(|&octet| octet == b'\n').filter_map(Line::split);
    let line = if hash || lines.any(|line| line.is_hashed()) {
        hashed_line(key)
    } else {
        key.line()
    };
    let lead = if text.last().is_some_and(|&octet| octet != b'\n') {
        "\n"
    } else {
        ""
    };
    file.write_all(format!("{lead}{line}\n").as_bytes())?;
    durable::sync_files(&[(file, path.to_owned())])?;
    durable::sync_dir(&File::open(directory)?, directory)?;
    Ok(())
}

fn hashed_line(key: &HostKey) -> String {
    let mut salt = [0; 20];
    russh::keys::key::safe_rng().fill_bytes(&mut salt);
    let hash = host_hash(&salt, key.host());
    format!(
        "|1|{}|{} {}",
        BASE64.encode(&salt),
        BASE64.encode(&hash),
        key_fields(&key.key)
    )
}
