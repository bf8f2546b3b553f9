//! What the fuzz target for known_hosts runs.

use super::line::Line;

/// Reads lines of a known_hosts file.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn known_hosts(text: &[u8]) {
    for line in text.split(|octet| *octet == b'\n') {
        let Some(line) = Line::split(line) else {
            continue;
        };
        for host in ["popserver.example", "[popserver.example]:2222", "192.0.2.1"] {
            let matches = line.matches(host);
            assert_eq!(matches, line.matches(host), "it is the same each time");
        }
        let (_marker, key) = (line.marker(), line.key());
        if let Ok(Some(key)) = key {
            // A key that was understood can be written down again.
            assert!(key.to_openssh().is_ok());
        }
    }
}
