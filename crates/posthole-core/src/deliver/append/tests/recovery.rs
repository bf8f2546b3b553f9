//! What recovery makes of an mbox after a run that died.

use super::*;

#[test]
fn nothing_appended_is_nothing_delivered() {
    let world = World::new();
    let died = world.intend(TEXT);
    assert!(!world.recover(died));
    assert_eq!(world.content(), "");

    let world = World::new();
    world.deliver(&["Subject: old\n\nold\n"]).unwrap();
    let before = world.content();
    let died = world.intend(TEXT);
    assert!(!world.recover(died));
    assert_eq!(world.content(), before);
}

#[test]
fn a_message_that_is_there_in_part_is_taken_off() {
    let world = World::new();
    for old in [None, Some("Subject: old\n\nold\n")] {
        if let Some(old) = old {
            world.deliver(&[old]).unwrap();
        }
        let before = fs::read(world.path()).unwrap_or_default();
        let length = World::new().intend(TEXT).form.len();
        for cut in 1..length {
            for hole in [0, 1, 5000] {
                let died = world.intend(TEXT);
                world.append(&died.form[..cut]);
                world.append(&vec![0; hole]);
                assert!(!world.recover(died), "cut at {cut}, {hole} NULs");
                assert_eq!(fs::read(world.path()).unwrap(), before, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_message_that_is_there_is_delivered_whatever_came_after_it() {
    for after in ["", "From x y\n\nnew\n\n", "\0\0", "x"] {
        let world = World::new();
        let died = world.intend(TEXT);
        world.append(&died.form);
        world.append(after.as_bytes());
        let before = fs::read(world.path()).unwrap();
        assert!(world.recover(died), "{after:?}");
        assert_eq!(fs::read(world.path()).unwrap(), before, "{after:?}");
    }
}

/// A sync that failed and is repeated succeeds, whatever the disk has of it.
#[cfg(target_os = "linux")]
#[test]
fn a_message_that_is_there_is_written_anew_so_that_there_is_something_to_sync() {
    use rustix::fs::inotify;

    let long = format!("Subject: x\n\n{}", "a line of many\n".repeat(20_000));
    for text in [TEXT, &long] {
        let world = World::new();
        world.deliver(&["Subject: old\n\nold\n"]).unwrap();
        let died = world.intend(text);
        world.append(&died.form);
        world.append(b"From x y\n\nnew\n\n");
        let before = fs::read(world.path()).unwrap();
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
        inotify::add_watch(&watch, world.path(), inotify::WatchFlags::MODIFY).unwrap();
        assert!(world.recover(died));
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        let event = events.next().unwrap();
        assert_eq!(event.events(), inotify::ReadFlags::MODIFY);
        assert_eq!(fs::read(world.path()).unwrap(), before);
    }
}

#[test]
fn mail_that_another_program_appended_is_never_taken_off() {
    let length = World::new().intend(TEXT).form.len();
    for cut in [0, 1, 10, length / 2, length - 1] {
        let world = World::new();
        let died = world.intend(TEXT);
        world.append(&died.form[..cut]);
        world.append(b"From x y\n\nof another\n\n");
        let before = fs::read(world.path()).unwrap();
        assert!(!world.recover(died), "cut at {cut}");
        assert_eq!(fs::read(world.path()).unwrap(), before, "cut at {cut}");
    }
}

#[test]
fn a_message_is_found_in_a_file_that_was_rewritten() {
    let world = World::new();
    world.deliver(&["Subject: old\n\nold\n"]).unwrap();
    let died = world.intend(TEXT);
    world.append(&died.form);
    // A mail program removes the old message and marks ours as read, in another file.
    let content = world.content();
    let (_, ours) = content.split_once("\n\nFrom a@b").unwrap();
    let marked = format!("From a@b{ours}").replace("Subject: x\n", "Subject: x\nStatus: RO\n");
    let new = world.directory.path().join("new");
    fs::write(&new, &marked).unwrap();
    fs::rename(new, world.path()).unwrap();
    assert!(world.recover(died));
    assert_eq!(world.content(), marked);
}

#[test]
fn a_message_that_only_looks_alike_is_not_ours() {
    let world = World::new();
    world.deliver(&["Subject: old\n\nold and long\n"]).unwrap();
    let died = world.intend(TEXT);
    // The same line and header, another body.
    let form = String::from_utf8(died.form.clone()).unwrap();
    let other = form.replace("First", "Other").trim_start().to_owned();
    fs::write(world.path(), &other).unwrap();
    assert!(!world.recover(died));
    assert_eq!(world.content(), other);
}

#[test]
fn what_nobody_can_tell_is_fetched_again() {
    let world = World::new();
    world.deliver(&["Subject: old\n\nold\n"]).unwrap();
    let died = world.intend(TEXT);
    fs::write(world.path(), "").unwrap();
    assert!(!world.recover(died));

    let died = world.intend(TEXT);
    fs::remove_file(world.path()).unwrap();
    let recovered = world
        .file()
        .recover(vec![died.intent], &world.staging())
        .unwrap();
    assert_eq!(recovered.lost.len(), 1);
    assert!(!world.path().exists());

    // Without its text a tail is nobody's.
    let world = World::new();
    let died = world.intend(TEXT);
    world.append(&died.form[..20]);
    fs::remove_dir_all(world.mailbox.staging_dir()).unwrap();
    assert!(!world.recover(died));
    assert_eq!(world.content().len(), 20);
}

#[test]
fn a_batch_that_was_cut_off_is_delivered_up_to_there() {
    let world = World::new();
    let texts = [
        "Subject: a\n\na\n",
        "Subject: b\n\nb\n",
        "Subject: c\n\nc\n",
    ];
    let (intents, whole) = intend_batch(&world, &texts);
    let second = intents[1].offset.unwrap();
    fs::write(
        world.path(),
        &whole[..usize::try_from(second).unwrap() + 15],
    )
    .unwrap();
    let recovered = world.file().recover(intents, &world.staging()).unwrap();
    assert_eq!(recovered.receipts.len(), 1);
    assert_eq!(recovered.lost.len(), 2);
    assert_eq!(world.bodies(), ["a"]);
}

/// Leaves the intents of a batch that goes into a new mbox at once, and what it would have been.
fn intend_batch(world: &World, texts: &[&str]) -> (Vec<StoredIntent>, Vec<u8>) {
    let (mut intents, mut whole) = (Vec::new(), Vec::new());
    for text in texts {
        let mut died = world.intend(text);
        died.intent.offset = Some(whole.len() as u64);
        whole.extend_from_slice(&died.form);
        intents.push(died.intent);
    }
    (intents, whole)
}

#[test]
fn a_message_is_not_taken_for_another_of_the_same_sender_and_body() {
    let texts = [
        "From: a@b\nSubject: one\n\nsame\n",
        "From: a@b\nSubject: two\n\nsame\n",
    ];
    for rewritten in [false, true] {
        let world = World::new();
        let (intents, whole) = intend_batch(&world, &texts);
        let second = usize::try_from(intents[1].offset.unwrap()).unwrap();
        let there = String::from_utf8(whole[..second].to_vec()).unwrap();
        if rewritten {
            let marked = there.replace("Subject: one\n", "Subject: one\nStatus: RO\n");
            let new = world.directory.path().join("new");
            fs::write(&new, &marked).unwrap();
            fs::rename(new, world.path()).unwrap();
        } else {
            fs::write(world.path(), &there).unwrap();
        }
        let recovered = world.file().recover(intents, &world.staging()).unwrap();
        let delivered: Vec<_> = recovered.receipts.iter().map(|it| &it.identity).collect();
        assert_eq!(delivered, [&identity(texts[0])], "rewritten: {rewritten}");
        assert_eq!(recovered.lost, [identity(texts[1])]);
    }
}

#[test]
fn one_copy_in_the_file_counts_for_one_of_two_equal_messages() {
    let text = "From: a@b\nSubject: twice\n\nsame\n";
    for copies in [1, 2] {
        let world = World::new();
        let (mut intents, whole) = intend_batch(&world, &[text, text]);
        intents[1].identity.occurrence = 1;
        let second = usize::try_from(intents[1].offset.unwrap()).unwrap();
        let content = if copies == 1 {
            &whole[..second]
        } else {
            &whole
        };
        // In another file, where neither is in its place any more.
        let new = world.directory.path().join("new");
        fs::write(&new, [b"From x y\n\nfirst\n\n", content].concat()).unwrap();
        fs::rename(new, world.path()).unwrap();
        let recovered = world.file().recover(intents, &world.staging()).unwrap();
        assert_eq!(recovered.receipts.len(), copies);
    }
}

#[test]
fn what_mail_programs_note_in_a_header_does_not_hide_a_message() {
    let world = World::new();
    let died = world.intend(TEXT);
    let form = String::from_utf8(died.form.clone()).unwrap();
    let noted = form.replace(
        "Subject: x\n",
        "X-IMAPbase: 1 2\n 3\nX-UID: 1\nSubject: x\nStatus: RO\nX-Mozilla-Status: 0001\n\
         content-length: 7\n",
    );
    assert_ne!(noted, form);
    let new = world.directory.path().join("new");
    fs::write(&new, ["From x y\n\nfirst\n\n", &noted].concat()).unwrap();
    fs::rename(new, world.path()).unwrap();
    assert!(world.recover(died));
}
