//! Which lines of a known_hosts file are about a host.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use posthole_core::tunnel::HostKey;
use posthole_core::tunnel::known_hosts::{self, Standing};
use posthole_testkit::keys;
use posthole_testkit::ssh::SshServer;

use crate::world::{Client, Person};

/// Lines are made of the names by chance, but always the same ones, and both sides are asked which
/// of them are about which name.
pub(crate) async fn match_as_ssh_keygen_finds_them() {
    let server = SshServer::builder().start();
    let key = keys::public_line(&server.host_key());
    let client = Client::of(&server, Person::absent());
    let mut dice = Dice(31);
    let mut lines: Vec<String> = (0..LINES)
        .map(|_| format!("{} {key}", dice.entry()))
        .collect();
    lines.extend(hashed(&client, &key));
    let file = client.path("all");
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let (mut matched, mut of) = (0, 0);
    for host in HOSTS {
        // An alias is looked up as it is, which is just what -F does with its argument.
        let mut hop = client.hop.clone();
        hop.host_key_alias = Some((*host).to_owned());
        let shown = client.tunnels.scan_host_key("work", &[hop]).await.unwrap();
        let ours = found_by_us(&client, &shown, &lines);
        let theirs = found_by_ssh_keygen(&file, host);
        let differ: Vec<_> = ours
            .symmetric_difference(&theirs)
            .map(|number| &lines[number - 1])
            .collect();
        assert!(differ.is_empty(), "{host}: {differ:#?}");
        matched += ours.len();
        of += lines.len();
    }
    // Otherwise nothing was compared.
    assert!(matched > 100 && of - matched > 100, "{matched} of {of}");
}

fn found_by_us(client: &Client, key: &HostKey, lines: &[String]) -> BTreeSet<usize> {
    let file = [client.path("one")];
    let is_found = |line: &String| {
        fs::write(&file[0], line).unwrap();
        let judgement = known_hosts::judge(&file, key).unwrap();
        matches!(judgement.standing, Standing::Known { .. })
    };
    let found = lines.iter().enumerate().filter(|(_, line)| is_found(line));
    found.map(|(index, _)| index + 1).collect()
}

fn found_by_ssh_keygen(file: &Path, host: &str) -> BTreeSet<usize> {
    let output = Command::new("ssh-keygen")
        .args(["-F", host, "-f"])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // "# Host popserver found: line 5"
    let numbers = text.lines().filter_map(|line| {
        let (_, number) = line.strip_prefix("# Host ")?.rsplit_once(" found: line ")?;
        Some(number.trim().parse().unwrap())
    });
    numbers.collect()
}

/// The names, hashed by ssh-keygen.
fn hashed(client: &Client, key: &str) -> Vec<String> {
    let file = client.path("hashed");
    let mut text = String::new();
    for host in HOSTS {
        writeln!(text, "{host} {key}").unwrap();
    }
    fs::write(&file, text).unwrap();
    let output = Command::new("ssh-keygen")
        .args(["-H", "-f"])
        .arg(&file)
        .output();
    assert!(output.unwrap().status.success());
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.matches("|1|").count(), HOSTS.len(), "{text}");
    text.lines().map(str::to_owned).collect()
}

/// SplitMix64, whose throws are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    /// The names of a line.
    fn entry(&mut self) -> String {
        let joint = if self.below(20) == 0 { ",," } else { "," };
        let patterns: Vec<_> = (0..=self.below(3)).map(|_| self.pattern()).collect();
        patterns.join(joint)
    }

    fn pattern(&mut self) -> String {
        let mut pattern = HOSTS[self.below(HOSTS.len())].to_owned();
        for _ in 0..self.below(4) {
            let at = self.below(pattern.len() + 1);
            let end = (at + self.below(4)).min(pattern.len());
            match self.below(5) {
                0 | 1 => pattern.replace_range(at..end, "*"),
                2 => pattern.replace_range(at..(at + 1).min(pattern.len()), "?"),
                3 => pattern = pattern.to_uppercase(),
                _ => pattern.replace_range(at..end, ""),
            }
        }
        if self.below(6) == 0 {
            pattern.insert(0, '!');
        }
        if pattern.is_empty() || pattern.starts_with(['#', '@', '|']) {
            pattern.insert(0, '*');
        }
        pattern
    }
}

const HOSTS: &[&str] = &[
    "popserver",
    "pop.example.org",
    "mail.pop.example.org",
    "192.0.2.7",
    "[popserver]:2222",
    "[2001:db8::1]:2222",
    "2001:db8::1",
];
const LINES: usize = 400;
