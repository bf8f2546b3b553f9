//! Records that are damaged: cut off, overwritten, emptied, another's.
//!
//! Whatever is in the place of `state.db`, a run ends with a word about it or knows what it needs;
//! never is a mailbox taken for new because of that, never is anything deleted.

use std::fs;
use std::path::{Path, PathBuf};

use posthole_testkit::real::Suite;
use posthole_testkit::scene::{Ended, PATIENCE, Target};
use posthole_testkit::{Scene, mail};
use rusqlite::Connection;

use crate::bin;

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
        .test("records_that_are_cut_off_are_noticed", &[], cut_off)
        .test("records_that_are_overwritten_are_noticed", &[], overwritten)
        .test("what_is_no_database_of_ours_is_refused", &[], not_ours)
        .test(
            "records_that_forgot_a_mailbox_are_not_believed",
            &[],
            forgotten,
        )
        .test("records_may_be_moved_away_to_begin_anew", &[], moved_away)
        .test("a_log_that_is_torn_or_gone_costs_little", &[], torn_log)
}

/// So many that the records take several pages.
const MESSAGES: usize = 300;

/// A mailbox that was fetched, and a copy of its records.
struct Fetched {
    scene: Scene,
    aside: PathBuf,
}

impl Fetched {
    fn new() -> Self {
        let messages: Vec<_> = (0..MESSAGES).map(mail::tiny).collect();
        let scene = Scene::new(Target::Maildir, true, &messages);
        scene.settle(&[], bin(), 1).unwrap();
        let aside = scene.home().path().with_file_name("aside");
        let fetched = Self { scene, aside };
        fetched.put_aside();
        fetched
    }

    fn put_aside(&self) {
        copy(&self.state(), &self.aside);
    }

    fn state(&self) -> PathBuf {
        self.scene.home().state_dir()
    }

    fn database(&self) -> PathBuf {
        self.state().join("state.db")
    }

    /// Runs the program on the records after this was done to them, and puts everything back.
    ///
    /// Returns what it did, and how many messages were fetched again.
    fn after(&self, what: &str, damage: impl FnOnce(&Path)) -> (Ended, usize) {
        fs::remove_dir_all(self.state()).unwrap();
        copy(&self.aside, &self.state());
        let before = names(&self.scene);
        let on_server = self.scene.maildrop().len();
        damage(&self.database());
        let fetch = || self.scene.command(&[], bin(), &["fetch"]);
        let ended = self.scene.run(fetch(), PATIENCE).unwrap();
        ended.is_decent().expect(what);
        assert_eq!(self.scene.maildrop().len(), on_server, "{what}: {ended}");
        let new: Vec<_> = names(&self.scene)
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        for path in &new {
            fs::remove_file(path).unwrap();
        }
        assert_eq!(names(&self.scene), before, "{what}: {ended}");
        (ended, new.len())
    }

    /// The same for damage that nothing can be recovered from.
    fn refused(&self, what: &str, code: i32, words: &[&str], damage: impl FnOnce(&Path)) {
        let (ended, again) = self.after(what, damage);
        assert_eq!(again, 0, "{what}: fetched again\n{ended}");
        assert_eq!(ended.status.code(), Some(code), "{what}: {ended}");
        for word in words.iter().chain(&["state.db", "hint: "]) {
            assert!(ended.stderr.contains(word), "{what}: no {word:?}\n{ended}");
        }
    }
}

fn cut_off() {
    let fetched = Fetched::new();
    let whole = fs::metadata(fetched.database()).unwrap().len();
    let mut lengths: Vec<u64> = (0..whole).step_by(4096).collect();
    lengths.extend(
        (0..whole)
            .step_by(4096)
            .flat_map(|at| [at + 1, at + 2_000, at + 4_095]),
    );
    lengths.extend([15, 16, 50, 71, 99, 100, 101, 511, 512, 1024]);
    for length in lengths {
        let what = format!("cut to {length}");
        let cut = |database: &Path| {
            let file = fs::OpenOptions::new().write(true).open(database).unwrap();
            file.set_len(length).unwrap();
        };
        let (ended, again) = fetched.after(&what, cut);
        assert_eq!(again, 0, "{what}: fetched again\n{ended}");
        // Within the last page there may be nothing of use.
        if length < whole - 4096 || !ended.status.success() {
            fetched.refused(&what, 74, &["again"], cut);
        }
    }
}

fn overwritten() {
    let fetched = Fetched::new();
    let length = fs::metadata(fetched.database()).unwrap().len() as usize;
    let pages = length / 4096;
    for page in 0..pages {
        let kinds: [(&str, Vec<u8>); 4] = [
            ("zeros", vec![0; 4096]),
            ("noise", mail::noise(page as u64, 4096)),
            ("zeros at its start", vec![0; 100]),
            ("noise at its end", mail::noise(7, 2048)),
        ];
        for (kind, octets) in kinds {
            let what = format!("{kind} in page {page}");
            let (ended, again) = fetched.after(&what, |database| {
                let place = match kind {
                    "noise at its end" => page * 4096 + 2048,
                    _ => page * 4096,
                };
                overwrite(database, place, &octets);
            });
            // So many that it is looked for.
            assert!(again < 20, "{what}: {again} are fetched again\n{ended}");
        }
    }
    for place in (0..length).step_by(251) {
        let what = format!("one octet at {place}");
        let (ended, again) = fetched.after(&what, |database| {
            let octet = fs::read(database).unwrap()[place];
            overwrite(database, place, &[!octet]);
        });
        assert!(again < 20, "{what}: {again} are fetched again\n{ended}");
    }
}

fn not_ours() {
    let fetched = Fetched::new();
    let change = |sql: &'static str| {
        move |database: &Path| {
            let connection = Connection::open(database).unwrap();
            connection.execute_batch(sql).unwrap();
        }
    };
    fetched.refused("empty", 74, &["is empty", "restore it"], |database| {
        fs::write(database, "").unwrap();
    });
    fetched.refused("without a table", 74, &["is empty"], |database| {
        fs::remove_file(database).unwrap();
        let connection = Connection::open(database).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; VACUUM")
            .unwrap();
    });
    fetched.refused("text", 74, &["not a database"], |database| {
        fs::write(database, "a shopping list\n".repeat(1000)).unwrap();
    });
    fetched.refused(
        "from the future",
        78,
        &["newer posthole"],
        change("PRAGMA user_version = 99"),
    );
    fetched.refused(
        "of another program",
        78,
        &["not posthole's"],
        change("PRAGMA application_id = 7"),
    );
    fetched.refused("a directory", 74, &[], |database| {
        fs::remove_file(database).unwrap();
        fs::create_dir(database).unwrap();
    });
    fetched.refused(
        "without its messages",
        74,
        &[],
        change("DROP TABLE message"),
    );
}

fn forgotten() {
    let fetched = Fetched::new();
    fetched.refused("without the mailbox", 74, &["has lost"], |database| {
        let connection = Connection::open(database).unwrap();
        let sql = "PRAGMA foreign_keys = OFF; DELETE FROM message; DELETE FROM mailbox";
        connection.execute_batch(sql).unwrap();
    });
}

fn moved_away() {
    let fetched = Fetched::new();
    let (ended, again) = fetched.after("moved away", |database| {
        fs::remove_file(database).unwrap();
    });
    assert_eq!((ended.status.code(), again), (Some(0), MESSAGES), "{ended}");
}

fn torn_log() {
    let fetched = Fetched::new();
    // While somebody has them open, what is new stays in the log.
    let reader = Connection::open(fetched.database()).unwrap();
    let _count: i64 = reader
        .query_row("SELECT count(*) FROM message", [], |row| row.get(0))
        .unwrap();
    let new = 10;
    for number in 0..new {
        fetched.scene.maildrop().add(mail::tiny(MESSAGES + number));
    }
    let ended = fetched
        .scene
        .run(fetched.scene.command(&[], bin(), &["fetch"]), PATIENCE);
    assert!(ended.unwrap().status.success());
    fetched.put_aside();
    drop(reader);
    let log = |database: &Path| database.with_file_name("state.db-wal");
    let length = fs::metadata(log(&fetched.aside.join("state.db")))
        .unwrap()
        .len();
    assert!(length > 4096, "nothing is in the log");
    let in_the_log = |what: &str, damage: &dyn Fn(&Path)| {
        let (ended, again) = fetched.after(what, damage);
        let noticed = !ended.status.success();
        assert!(
            noticed || again <= new,
            "{what}: {again} are fetched again\n{ended}"
        );
    };
    for length in (0..length).step_by(1030) {
        in_the_log(&format!("cut to {length}"), &|database| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(log(database))
                .unwrap();
            file.set_len(length).unwrap();
        });
    }
    for place in (0..length).step_by(2060) {
        in_the_log(&format!("noise at {place}"), &|database| {
            overwrite(&log(database), place as usize, &mail::noise(3, 64));
        });
    }
    in_the_log("gone", &|database| fs::remove_file(log(database)).unwrap());
    in_the_log("noise", &|database| {
        fs::write(log(database), mail::noise(5, 20_000)).unwrap();
    });
    in_the_log("a wrong index", &|database| {
        let index = database.with_file_name("state.db-shm");
        fs::write(index, mail::noise(6, 32_768)).unwrap();
    });
}

fn overwrite(path: &Path, place: usize, octets: &[u8]) {
    let mut content = fs::read(path).unwrap();
    let end = content.len().min(place + octets.len());
    content[place..end].copy_from_slice(&octets[..end - place]);
    fs::write(path, content).unwrap();
}

fn names(scene: &Scene) -> Vec<PathBuf> {
    let entries = fs::read_dir(scene.file("Mail/new")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).ok();
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
