//! Shows Posthole at work on a machine with nothing but Rust.
//!
//! The SSH server, the POP3 server and the mail are the testkit's and run in this process; the
//! program is the real one, run as a person would run it, and every command is shown first.

use std::path::{Path, PathBuf};
use std::process::Command;

use posthole_testkit::{World, mail};

use crate::cargo::{cargo, run, target_dir};

/// Fetches a sample mailbox, then new mail only, and shows what is where.
pub(crate) fn demo() -> Result<(), String> {
    println!("Building posthole …");
    run(cargo().args(["build", "--locked", "--quiet", "--package", "posthole"]))?;
    let bin = target_dir().join("debug").join("posthole");

    let messages = mail::corpus(1, 40);
    let world = World::builder().messages(messages.clone()).build();
    println!(
        "\nAn SSH server listens on {}. Behind it, as its `localhost:110`, is a POP3 server with {} \
         messages;\nno other way leads there. The home directory of this demonstration is {}.",
        world.ssh().addr(),
        messages.len(),
        world.home().path().display(),
    );

    let url = world.url();
    let via = world.via();
    let one_line = ["fetch", &url, "--via", &via, "--to", "maildir:~/Mail"];
    let one_line = [one_line.as_slice(), &["--password-file", "mail-password"]].concat();
    posthole(
        &world,
        &bin,
        "Fetch, with everything said on the command line:",
        &one_line,
    )?;
    show_maildir(&world);
    world.home().assert_delivered(&messages);

    let late = b"Subject: one more\r\n\r\nJust arrived.\r\n".to_vec();
    world.maildrop().add(late.clone());
    posthole(
        &world,
        &bin,
        "One more message arrives. Fetch again:",
        &one_line,
    )?;
    show_maildir(&world);
    world
        .home()
        .assert_delivered(messages.iter().chain([&late]));

    posthole(
        &world,
        &bin,
        "And the way there, step by step, as ~/.config has it:",
        &["check"],
    )?;
    let channels = world.ssh().channels().len();
    println!(
        "\nThe SSH server opened {channels} channels to localhost:110, and neither a shell nor any \
         local port.\nThe mailbox still holds {} messages: Posthole keeps mail unless told otherwise.",
        world.maildrop().len(),
    );
    Ok(())
}

/// Says what is done, shows the command, runs it.
fn posthole(world: &World, bin: &Path, why: &str, arguments: &[&str]) -> Result<(), String> {
    println!("\n{why}\n\n    $ posthole {}\n", arguments.join(" "));
    let mut command: Command = world.posthole(bin);
    run(command.args(arguments))
}

fn show_maildir(world: &World) {
    let new = world.maildir().join("new");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&new)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    println!("\n    $ ls ~/Mail/new | wc -l\n    {}", files.len());
    println!("    $ ls ~/Mail/new | tail -n 2");
    for file in files.iter().skip(files.len().saturating_sub(2)) {
        let name = file.file_name().unwrap_or_default();
        println!("    {}", name.to_string_lossy());
    }
}
