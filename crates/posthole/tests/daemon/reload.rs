//! A new configuration.

use posthole_testkit::{World, mail};
use rustix::process::Signal;

use crate::world::{Daemon, configure, ok, run, wait_until};

#[test]
fn a_broken_file_leaves_the_old_configuration_in_force() {
    let messages = mail::small(2);
    let world = World::builder().messages(messages[..1].to_vec()).build();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the first poll is over", |a| a["fetched"] == 1);
    configure(&world, |text| text + "nonsense = 1\n");
    let refused = run(&world, &["reload"]);
    assert_eq!(refused.code, Some(78));
    for said in [
        "unknown key `nonsense`",
        "config.toml:6:1",
        "posthole: 1 mistake in",
        "the old configuration stays in force",
    ] {
        assert!(
            refused.stderr.contains(said),
            "{said:?} is not in {}",
            refused.stderr
        );
    }
    assert!(ok(&world, &["status"]).contains("an older configuration is in force"));
    world.maildrop().add(&messages[1][..]);
    ok(&world, &["wake"]);
    daemon.wait_for("it still works", |a| a["fetched"] == 2);

    configure(&world, |text| text.replace("nonsense = 1\n", ""));
    assert_eq!(
        ok(&world, &["reload"]),
        "configuration read: 1 account, 1 as before\n"
    );
    assert!(daemon.status().unwrap()["daemon"]["config_problem"].is_null());
    assert_eq!(world.ssh().connections(), 1, "the connection is kept");
}

#[test]
fn a_broken_file_that_is_mended_is_noticed() {
    let world = World::builder().build();
    let daemon = Daemon::start(&world, &[]);
    configure(&world, |text| text + "nonsense = 1\n");
    daemon.signal(Signal::HUP);
    wait_until("the mistake is known", || {
        !daemon.status().unwrap()["daemon"]["config_problem"].is_null()
    });
    configure(&world, |text| text.replace("nonsense = 1\n", ""));
    wait_until("it is gone", || {
        daemon.status().unwrap()["daemon"]["config_problem"].is_null()
    });
}

#[test]
fn accounts_come_change_and_go_while_others_are_left_alone() {
    let world = World::builder().messages(mail::small(1)).build();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the first poll is over", |a| a["fetched"] == 1);
    let polls = daemon.account()["polls"].clone();
    configure(&world, |text| {
        let second = text
            .replace("work", "home")
            .replace("@localhost", "@LOCALHOST");
        format!(
            "{text}\n{}",
            second
                .replace("~/Mail", "~/Home")
                .replace("msingh@LOCAL", "other@LOCAL")
        )
    });
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("2 accounts, 1 added, 1 as before");
    wait_until("the new one is polled", || {
        daemon.status().unwrap()["accounts"][1]["failures"] == 1
    });
    assert_eq!(
        daemon.account()["polls"],
        polls,
        "the old one is left alone"
    );
    configure(&world, |text| {
        text.split("\n\n").next().unwrap().to_owned() + "\nevery = \"1h\"\n"
    });
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("1 account, 1 changed, 1 removed");
    daemon.wait_for("the changed one is polled", |a| a["polls"] != polls);
    assert_eq!(
        daemon.status().unwrap()["accounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
