//! Peak memory while one very large message is fetched.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use posthole_testkit::World;
use posthole_testkit::mail::Big;
use posthole_testkit::pop3::Maildrop;

use super::Bench;
use super::contender::posthole;
use super::measure;
use super::report::{self, Table};

/// One message of 1 GiB and, to compare, one of 1 MiB, from servers in this process.
pub(super) fn memory(bench: &Bench) -> Result<String, String> {
    let mut table = Table::new(["one message of", "MiB at most", "seconds", "MB/s"]);
    for (name, octets) in [("1 MiB", 1 << 20), ("1 GiB", 1_u64 << 30)] {
        let big = Big::new(1, octets);
        let maildrop = Maildrop::of([big.clone()]);
        let world = World::builder().maildrop(&maildrop).build();
        let fresh = bench.fresh()?;
        let maildir = fresh.join("Mail");
        let command = posthole::from_world(&bench.posthole, &world, &maildir, &fresh.join("state"));
        let cost = measure::run(&command, &fresh)?;
        check(&maildir.join("new"), &big)?;
        let seconds = cost.wall.as_secs_f64();
        table.row([
            name.to_owned(),
            report::mib(cost.peak_kib as f64),
            report::seconds(seconds),
            format!("{:.0}", octets as f64 / 1e6 / seconds),
        ]);
    }
    Ok(table.markdown())
}

/// Compares the one file in a directory with the message, octet for octet.
fn check(new: &Path, big: &Big) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", new.display());
    let mut entries = fs::read_dir(new).map_err(failed)?;
    let Some(entry) = entries.next() else {
        return Err("the large message did not come".to_owned());
    };
    let mut file = File::open(entry.map_err(failed)?.path()).map_err(failed)?;
    let mut expected = big.read_lf();
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let n = fill(&mut file, &mut left).map_err(failed)?;
        let m = fill(&mut expected, &mut right).map_err(failed)?;
        if left[..n] != right[..m] {
            return Err("the large message was altered on its way".to_owned());
        }
        if n == 0 {
            return Ok(());
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match from.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

const BLOCK: usize = 256 * 1024;
