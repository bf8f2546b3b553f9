//! Links where files should be, and umasks.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use posthole_testkit::Scene;
use posthole_testkit::real::{Requirement, Suite};
use posthole_testkit::scene::{PATIENCE, Target};

use crate::{bin, messages};

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
        .test("a_link_leads_no_mail_and_no_note_astray", &[], links)
        .test(
            "no_umask_shows_mail_to_others_or_hides_it_from_its_owner",
            &[Requirement::Root],
            umasks,
        )
        .test("of_runs_at_the_same_time_one_fetches", &[], crowd)
}

/// Puts a link to something precious in the place of what is there after a run.
fn links() {
    let state = ".local/state/posthole";
    for (target, place) in [
        (Target::Maildir, "Mail/tmp".to_owned()),
        (Target::Maildir, "Mail/new".to_owned()),
        (Target::Mbox, format!("{state}/spool")),
        (Target::Maildir, format!("{state}/locks/*")),
        (Target::Maildir, format!("{state}/accounts.json.new")),
        (Target::Maildir, format!("{state}/accounts.lock")),
    ] {
        let scene = Scene::new(target, true, &messages());
        scene.settle(&[], bin(), 1).unwrap();
        let mut path = scene.file(&place);
        if path.ends_with("*") {
            let mut locks = fs::read_dir(path.parent().unwrap()).unwrap();
            path = locks.next().unwrap().unwrap().path();
        }
        let precious = scene.file("precious");
        let aside = scene.file("aside");
        if path.is_dir() {
            fs::create_dir(&precious).unwrap();
            fs::write(precious.join("file"), "precious\n").unwrap();
        } else {
            fs::write(&precious, "").unwrap();
        }
        if path.exists() {
            fs::rename(&path, &aside).unwrap();
        }
        symlink(&precious, &path).unwrap();
        scene.maildrop().add(messages()[0].clone());
        let before = scene.found();
        let command = scene.command(&[], bin(), &["fetch"]);
        let ended = scene.run(command, PATIENCE).unwrap();
        ended.is_decent().expect(&place);
        assert!(!ended.stderr.is_empty(), "{place}: nobody is told\n{ended}");
        let there: Vec<_> = match fs::read_dir(&precious) {
            Ok(entries) => entries.map(|entry| entry.unwrap().file_name()).collect(),
            Err(_) => Vec::new(),
        };
        if precious.is_dir() {
            assert_eq!(there, ["file"], "{place}");
        } else {
            assert_eq!(fs::read(&precious).unwrap(), b"", "{place}: {ended}");
        }
        if !ended.status.success() {
            assert_eq!(scene.found(), before, "{place}");
        }
        assert_eq!(scene.maildrop().len(), messages().len() + 1, "{place}");
    }
}

fn umasks() {
    for umask in ["000", "777", "277", "022"] {
        for target in [Target::Maildir, Target::Mbox, Target::Lmtp] {
            let scene = Scene::new(target, false, &messages());
            // An ordinary user, whom modes hold back.
            let program = scene.file("posthole");
            fs::copy(bin(), &program).unwrap();
            give_away(scene.home().path().parent().unwrap());
            let script = format!("umask {umask}; exec \"$@\"");
            let before = [
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "sh",
                "-c",
                &script,
                "sh",
            ];
            let what = format!("{target:?}, umask {umask}");
            scene.settle(&before, &program, 1).expect(&what);
            assert_private(&scene.file(".local"), &what);
            assert_private(&scene.file("Mail"), &what);
            assert_private(&scene.file("mbox"), &what);
        }
    }
}

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(65534), Some(65534)).unwrap();
    let is_directory = fs::symlink_metadata(path).unwrap().is_dir();
    for entry in fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter(|_| is_directory)
    {
        give_away(&entry.unwrap().path());
    }
}

fn assert_private(path: &Path, what: &str) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let mode = metadata.permissions().mode();
    let path = path.display();
    assert_eq!(mode & 0o077, 0, "{what}: {path} has {mode:o}");
    assert_ne!(metadata.uid(), 0, "{what}: {path}");
    for entry in fs::read_dir(path.to_string()).into_iter().flatten() {
        assert_private(&entry.unwrap().path(), what);
    }
}

/// Several processes at once, on one mailbox: each does its work or says that another does.
fn crowd() {
    for target in [Target::Maildir, Target::Mbox] {
        let scene = Scene::new(target, false, &messages());
        let started: Vec<_> = (0..6)
            .map(|_| {
                let mut command = scene.command(&[], bin(), &["fetch"]);
                command.stdin(std::process::Stdio::null());
                command.stdout(std::process::Stdio::piped());
                command.stderr(std::process::Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in started {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => assert_eq!(text, ""),
                Some(75) => assert!(text.contains("another posthole"), "{text}"),
                _ => panic!("{}: {text}", output.status),
            }
        }
        scene.nothing_is_lost().unwrap();
        scene.settle(&[], bin(), 1).unwrap();
    }
}
