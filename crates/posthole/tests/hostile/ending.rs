//! Servers that fall silent or go away, step by step.

use std::io;

use posthole_testkit::ssh::raw::*;

use crate::{Case, opened};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = silence();
    cases.extend(goodbye());
    cases
}

fn silence() -> Vec<Case> {
    vec![
        case!("silence_at_once", "did not finish the key exchange", |s| {
            s.listen().await
        }),
        case!(
            "silence_after_the_greeting",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_offer",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                let kexinit = s.kexinit();
                s.send(&kexinit).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_before_the_new_keys",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                let reply = s.answer_key_exchange().await?;
                s.send(&reply).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_new_keys",
            "did not finish the login",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_login_began",
            "did not finish the login",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.wait_for(USERAUTH_REQUEST).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_login",
            "did not finish the opening of a channel",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.let_in().await?;
                s.listen().await
            }
        ),
        case!("silence_in_the_channel", "did not greet us", |s| {
            opened(&mut s).await?;
            s.listen().await
        }),
        case!(
            "silence_after_the_mail_servers_greeting",
            "did not finish the opening",
            |s| {
                let channel = opened(&mut s).await?;
                s.send_data(channel, b"+OK ready\r\n").await?;
                s.listen().await
            }
        ),
    ]
}

/// The connection ends, with a message and without, after each step.
fn goodbye() -> Vec<Case> {
    vec![
        case!("an_end_at_once", "lost the SSH connection", |_s| { Ok(()) }),
        case!(
            "an_end_after_the_greeting",
            "lost the SSH connection",
            |s| { s.greet().await }
        ),
        case!("a_goodbye_after_the_greeting", "go ?[1m away", |s| {
            s.greet().await?;
            disconnect(s).await
        }),
        case!("an_end_after_the_offer", "lost the SSH connection", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await
        }),
        case!("a_goodbye_after_the_offer", "go ?[1m away", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await?;
            disconnect(s).await
        }),
        case!(
            "an_end_before_the_new_keys",
            "lost the SSH connection",
            |s| {
                s.greet().await?;
                let reply = s.answer_key_exchange().await?;
                s.send(&reply).await
            }
        ),
        case!(
            "an_end_after_the_new_keys",
            "lost the SSH connection",
            |s| {
                s.greet().await?;
                s.exchange_keys().await
            }
        ),
        case!("a_goodbye_after_the_new_keys", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            disconnect(s).await
        }),
        case!("a_goodbye_in_the_login", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            disconnect(s).await
        }),
        case!("an_end_after_the_login", "lost the SSH connection", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await
        }),
        case!("a_goodbye_after_the_login", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.wait_for_channel().await?;
            disconnect(s).await
        }),
        case!("an_end_in_the_channel", "lost the SSH connection", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await
        }),
        case!("a_goodbye_in_the_channel", "go ?[1m away", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            disconnect(s).await
        }),
    ]
}

async fn disconnect(mut session: RawSession) -> io::Result<()> {
    let mut packet = vec![DISCONNECT, 0, 0, 0, 11];
    put_string(&mut packet, b"go \x1b[1m away");
    put_string(&mut packet, b"");
    session.send(&packet).await?;
    // A close with unread octets is a reset, which overtakes what was sent.
    session.listen().await
}
