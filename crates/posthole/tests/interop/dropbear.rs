//! The program through another SSH server than OpenSSH's.

use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::{Dovecot, Dropbear, Requirement, Suite};
use posthole_testkit::{Home, mail};

use crate::world::{account, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = [
        Requirement::Dovecot,
        Requirement::Dropbear,
        Requirement::NssWrapper,
    ];
    suite
        .test(
            "mail_comes_through_dropbear",
            &needs,
            mail_comes_through_dropbear,
        )
        .test(
            "dropbears_refusals_are_explained",
            &needs,
            dropbears_refusals_are_explained,
        )
}

struct World {
    home: Home,
    dropbear: Dropbear,
    dovecot: Dovecot,
}

impl World {
    fn start<M: AsRef<[u8]>>(messages: &[M], key_type: KeyType) -> Self {
        let key = keys::generate(key_type);
        let dovecot = Dovecot::start(messages);
        let dropbear = Dropbear::start(key.public_key());
        let home = Home::new();
        home.write_identity(&key, KeyFormat::OpenSsh, None);
        home.write_known_hosts(&dropbear.known_hosts_line());
        home.write_password(Dovecot::PASSWORD);
        let world = Self {
            home,
            dropbear,
            dovecot,
        };
        world.write_config(world.dovecot.port());
        world
    }

    fn write_config(&self, port: u16) {
        let url = format!("pop3://{}@localhost:{port}", Dropbear::USER);
        let via = format!("{}@{}", Dropbear::USER, self.dropbear.addr());
        self.home.write_config(&account("work", &url, &via));
    }
}

fn mail_comes_through_dropbear() {
    for key_type in [KeyType::Ed25519, KeyType::Rsa, KeyType::EcdsaP256] {
        let messages = mail::corpus(61, 60);
        let world = World::start(&messages, key_type);
        run(&world.home, &["fetch"]).exits(0);
        run(&world.home, &["fetch", "--compress"]).exits(0);
        world.home.assert_delivered(&messages);
        let log = world.dropbear.log();
        assert_eq!(log.matches("Pubkey auth succeeded").count(), 2, "{log}");
    }
}

fn dropbears_refusals_are_explained() {
    let world = World::start(&[mail::tiny(1)], KeyType::Ed25519);
    world.write_config(1);
    run(&world.home, &["fetch"]).exits(75).says(&[
        "could not open a channel to localhost:1: connect failed",
        "hint: ",
    ]);
    world.write_config(world.dovecot.port());
    let stranger = keys::generate(KeyType::Ed25519);
    world
        .home
        .write_identity(&stranger, KeyFormat::OpenSsh, None);
    run(&world.home, &["fetch"]).exits(77).says(&[
        "did not let us in: publickey ED25519",
        "the server takes publickey",
    ]);
}
