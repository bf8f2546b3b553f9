//! File systems that run full at every step, or cannot be written; files that may not grow.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use posthole_testkit::Scene;
use posthole_testkit::real::{Requirement, Suite};
use posthole_testkit::scene::{Ended, PATIENCE, Target};

use crate::{bin, messages};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = &[Requirement::MountNamespace];
    suite
        .test("a_mail_folder_may_run_full_at_every_step", needs, || {
            every_size("Mail", Target::Maildir, (4..160).step_by(4));
        })
        .test("an_mbox_may_run_full_at_every_step", needs, || {
            every_size("folder", Target::Mbox, (4..120).step_by(4));
        })
        .test("the_records_may_run_full_at_every_step", needs, || {
            every_size(STATE, Target::Maildir, (4..260).step_by(8));
        })
        .test("the_spool_may_run_full_at_every_step", needs, || {
            every_size(STATE, Target::Mbox, (4..400).step_by(12));
            every_size(STATE, Target::Lmtp, (4..400).step_by(20));
        })
        .test("a_disk_that_cannot_be_written_is_an_error", needs, || {
            for (folder, target) in [
                ("Mail", Target::Maildir),
                ("folder", Target::Mbox),
                (STATE, Target::Maildir),
                (STATE, Target::Mbox),
            ] {
                read_only(folder, target);
            }
        })
        .test("a_file_that_may_not_grow_is_an_error", &[], limited)
}

const STATE: &str = ".local/state/posthole";

/// With a disk of every size for a folder, mail is where it was or where it goes, and all of it gets
/// there once there is room.
fn every_size(folder: &str, target: Target, sizes: impl Iterator<Item = u32>) {
    let (mut failed, mut succeeded) = (0, 0);
    for kibibytes in sizes {
        for keep in [false, true] {
            let (scene, disk) = on_disk(folder, target, keep, &format!("size={kibibytes}k"));
            let what = format!("{kibibytes} KiB, keep = {keep}");
            let ended = disk.fetch(&scene, &what);
            if ended.status.success() {
                succeeded += 1;
                scene.all_is_delivered().expect(&what);
            } else {
                failed += 1;
                assert_eq!(ended.status.code(), Some(74), "{what}: {ended}");
                let hint = ["make room", "free space"]
                    .iter()
                    .any(|words| ended.stderr.contains(words));
                assert!(hint, "{what}: {ended}");
            }
            disk.remount(folder, &scene, "size=64m");
            settle(&scene, &disk, &what);
        }
    }
    assert!(failed >= 5 && succeeded >= 1, "{failed} and {succeeded}");
}

fn read_only(folder: &str, target: Target) {
    let (scene, disk) = on_disk(folder, target, false, "size=64m");
    for (stage, prepare) in [("new", false), ("in use", true)] {
        let what = format!("{folder}, {stage}");
        if prepare {
            settle(&scene, &disk, &what);
            scene.maildrop().add(scene.messages()[0].clone());
        }
        disk.remount(folder, &scene, "ro");
        let ended = disk.run(&scene);
        ended.is_decent().expect(&what);
        assert_eq!(ended.status.code(), Some(74), "{what}: {ended}");
        assert!(ended.stderr.contains("hint: "), "{what}: {ended}");
        assert!(!scene.maildrop().is_empty(), "{what}");
        disk.remount(folder, &scene, "rw");
    }
}

fn limited() {
    for target in [Target::Maildir, Target::Mbox, Target::Lmtp] {
        let mut failed = 0;
        for limit in [
            0, 1, 100, 4_096, 5_000, 20_000, 32_768, 40_000, 65_536, 80_000, 90_000,
        ] {
            let scene = Scene::new(target, false, &messages());
            let limit = format!("--fsize={limit}");
            let command = scene.command(&["prlimit", &limit], bin(), &["fetch", "-q"]);
            let ended = scene.run(command, PATIENCE).unwrap();
            let what = format!("{target:?}, {limit}");
            scene.nothing_is_lost().expect(&what);
            // Where nothing can be written, nothing can be said either.
            match ended.status.code() {
                Some(0) => scene.all_is_delivered().expect(&what),
                Some(74) => failed += 1,
                _ => panic!("{what}: {ended}"),
            }
            scene.settle(&[], bin(), 1).expect(&what);
        }
        assert!(failed > 3, "{target:?}: {failed}");
    }
}

/// A folder of a scene's home that is a file system of its own, and the namespace where it is one.
struct Disk {
    holder: Child,
    pid: String,
}

fn on_disk(folder: &str, target: Target, keep: bool, options: &str) -> (Scene, Disk) {
    let scene = match target {
        Target::Mbox if folder == "folder" => Scene::with_mbox("folder/mbox", keep, &messages()),
        _ => Scene::new(target, keep, &messages()),
    };
    let path = scene.file(folder);
    std::fs::create_dir_all(&path).unwrap();
    let script = "mount -t tmpfs -o \"mode=700,$2\" none \"$1\" && echo ready && exec cat";
    let mut holder = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(&path)
        .arg(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = holder.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let pid = holder.id().to_string();
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    (scene.seen_from(root), Disk { holder, pid })
}

impl Disk {
    fn inside(&self) -> [&str; 4] {
        ["nsenter", "--mount", "--target", &self.pid]
    }

    fn remount(&self, folder: &str, scene: &Scene, options: &str) {
        let path = scene.home().path().join(folder);
        let [program, arguments @ ..] = self.inside();
        let status = Command::new(program)
            .args(arguments)
            .args(["mount", "-o", &format!("remount,{options}")])
            .arg(path)
            .status();
        assert!(status.unwrap().success());
    }

    fn run(&self, scene: &Scene) -> Ended {
        let command = scene.command(&self.inside(), bin(), &["fetch"]);
        scene.run(command, PATIENCE).unwrap()
    }

    /// Runs the program on this disk, and checks that no mail came to harm.
    fn fetch(&self, scene: &Scene, what: &str) -> Ended {
        let ended = self.run(scene);
        ended.is_decent().expect(what);
        if let Err(error) = scene.nothing_is_lost() {
            panic!("{what}: {error}\n{ended}");
        }
        ended
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Its input ends with it.
        drop(self.holder.stdin.take());
        self.holder.wait().ok();
    }
}

fn settle(scene: &Scene, disk: &Disk, what: &str) {
    scene.settle(&disk.inside(), bin(), 1).expect(what);
}
