//! Secrets that are kept: in memory that is not swapped out, and wiped when they go.
//!
//! Whatever reads a swap partition or a hibernated machine's disk must not find passwords there
//! (mlock(2)). The kernel locks whole pages and does not count how often, so all kept secrets of the
//! process share a few pages that are locked once. Where it refuses (`RLIMIT_MEMLOCK`), or where the
//! pages are full, they are kept all the same.
//!
//! Copies are made for use, as short-lived as can be, and are wiped but not locked.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};

use crate::transport::dial::plain;

/// A secret that is kept for later.
pub(crate) struct Kept(Place);

enum Place {
    /// In the locked pages.
    Locked(Range<usize>),
    /// Elsewhere, since the locked pages are full.
    Outside(SecretString),
}

impl Kept {
    /// Keeps a secret.
    pub(crate) fn new(secret: &SecretString) -> Self {
        let place = pages().put(secret.expose_secret().as_bytes());
        Self(match place {
            Some(place) => Place::Locked(place),
            None => Place::Outside(secret.clone()),
        })
    }

    /// A copy for use.
    pub(crate) fn reveal(&self) -> SecretString {
        match &self.0 {
            Place::Locked(place) => {
                let pages = pages();
                // INVARIANT: the place holds what was a string, until this is dropped.
                let text = std::str::from_utf8(&pages.octets[place.clone()]);
                SecretString::from(text.expect("a kept secret is text"))
            }
            Place::Outside(secret) => secret.clone(),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Place::Locked(place) = &self.0 {
            pages().take(place);
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(…)")
    }
}

/// Memory that secrets are put into; it lives as long as the process.
struct Pages {
    octets: Box<[u8]>,
    /// What is in use, in order.
    used: Vec<Range<usize>>,
    _lock: Option<region::LockGuard>,
}

impl Pages {
    fn new() -> Self {
        let octets = vec![0; SIZE].into_boxed_slice();
        let lock = match region::lock(octets.as_ptr(), octets.len()) {
            Ok(lock) => Some(lock),
            Err(error) => {
                let reason = match error {
                    region::Error::SystemCall(code) => plain(&io::Error::from_raw_os_error(code)),
                    other => other.to_string(),
                };
                tracing::info!(
                    "what was typed may be swapped out, since memory cannot be locked: {reason} \
                     (RLIMIT_MEMLOCK)"
                );
                None
            }
        };
        Self {
            octets,
            used: Vec::new(),
            _lock: lock,
        }
    }

    /// Copies a secret into the first gap that is large enough.
    fn put(&mut self, secret: &[u8]) -> Option<Range<usize>> {
        let mut start = 0;
        let mut index = 0;
        for used in &self.used {
            if used.start - start >= secret.len() {
                break;
            }
            start = used.end;
            index += 1;
        }
        let place = start..start.checked_add(secret.len())?;
        self.octets.get_mut(place.clone())?.copy_from_slice(secret);
        self.used.insert(index, place.clone());
        Some(place)
    }

    fn take(&mut self, place: &Range<usize>) {
        self.octets[place.clone()].zeroize();
        if let Some(index) = self.used.iter().position(|used| used == place) {
            self.used.remove(index);
        }
    }
}

fn pages() -> MutexGuard<'static, Pages> {
    static PAGES: LazyLock<Mutex<Pages>> = LazyLock::new(|| Mutex::new(Pages::new()));
    PAGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Some hundred passwords; an unprivileged process may lock 64 KiB or more (getrlimit(2)).
const SIZE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn pages_of(size: usize) -> Pages {
        Pages {
            octets: vec![0; size].into_boxed_slice(),
            used: Vec::new(),
            _lock: None,
        }
    }

    #[test]
    fn a_secret_is_kept_until_it_goes_and_is_wiped_then() {
        let mut pages = pages_of(32);
        let place = pages.put(b"correct horse").unwrap();
        assert_eq!(&pages.octets[place.clone()], b"correct horse");
        pages.take(&place);
        assert!(pages.octets.iter().all(|octet| *octet == 0));
        assert!(pages.used.is_empty());
    }

    #[test]
    fn gaps_are_filled_and_nothing_overlaps() {
        let mut pages = pages_of(10);
        let first = pages.put(b"aaa").unwrap();
        let second = pages.put(b"bbbb").unwrap();
        assert_eq!(pages.put(b"cccc"), None);
        let third = pages.put(b"ccc").unwrap();
        assert_eq!(pages.put(b"d"), None);
        pages.take(&first);
        assert_eq!(pages.put(b"eeee"), None);
        assert_eq!(pages.put(b"ee"), Some(0..2));
        assert_eq!(pages.put(b"f"), Some(2..3));
        assert_eq!(&*pages.octets, b"eefbbbbccc");
        pages.take(&second);
        pages.take(&third);
        assert_eq!(pages.put(b"gggggg"), Some(3..9));
    }

    #[test]
    fn secrets_come_back_as_they_were() {
        let kept: Vec<_> = ["", "sesame", "Grüße", ""]
            .map(|text| (text, Kept::new(&SecretString::from(text))))
            .into();
        for (text, kept) in &kept {
            assert_eq!(kept.reveal().expose_secret(), *text);
        }
        let long = "x".repeat(SIZE + 1);
        let outside = Kept::new(&SecretString::from(long.as_str()));
        assert_eq!(outside.reveal().expose_secret(), long);
        assert_eq!(format!("{outside:?}"), "Kept(…)");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_pages_are_locked() {
        let kept = Kept::new(&SecretString::from("sesame"));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let locked = locked.unwrap().trim().trim_end_matches(" kB");
        assert!(locked.parse::<usize>().unwrap() * 1024 >= SIZE, "{locked}");
        drop(kept);
    }
}
