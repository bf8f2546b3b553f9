//! STLS is answered with a no, with nothing, or with what is no answer.

use posthole_core::error::Class;
use posthole_testkit::pop3::{Faults, GREETING, Reply, Request};

use crate::row::{Row, first, list, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(codes());
    rows.extend(quits());
    rows.extend(no_answer());
    rows
}

fn no() -> Reply {
    Reply::send("-ERR STLS is not supported\r\n")
}

fn refusing(answer: &'static str) -> Faults {
    Faults::new().on("STLS", Reply::send(answer))
}

/// Methods enough for everybody.
const SASL: &str = "SASL ANONYMOUS APOP CRAM-MD5 CRAM-SHA1 DIGEST-MD5 EXTERNAL GS2-KRB5 GSSAPI \
                    KERBEROS_V4 LOGIN NTLM OAUTHBEARER OTP PLAIN SCRAM-MD5 SCRAM-SHA-1 \
                    SCRAM-SHA-256 SKEY XOAUTH2";

fn refused() -> Vec<Row> {
    let all = [
        "TOP",
        "USER",
        "RESP-CODES",
        "PIPELINING",
        "EXPIRE 60",
        "UIDL",
    ];
    let with = |more: &[&'static str]| [&all[..], more].concat();
    vec![
        row(
            "stls_is_neither_offered_nor_granted",
            Faults::new().capabilities(with(&[])).on("STLS", no()),
        )
        .fails_if_required(Class::Unavailable, &["refused TLS (STLS)"])
        .in_the_clear_if_welcome(&[]),
        row(
            "stls_is_offered_and_not_granted",
            Faults::new().capabilities(with(&["STLS"])).on("STLS", no()),
        )
        .refused(Class::Unavailable, "STLS is not supported"),
        row(
            "stls_is_all_that_is_offered_and_not_granted",
            Faults::new().capabilities(["STLS"]).on("STLS", no()),
        )
        .refused(Class::Unavailable, "STLS is not supported"),
        row(
            "there_are_no_capabilities_and_stls_is_not_granted",
            Faults::new().without_capa().on("STLS", no()),
        )
        .fails_if_required(Class::Unavailable, &["refused TLS (STLS)"])
        .in_the_clear_if_welcome(&[]),
        row(
            "every_method_but_stls_is_offered",
            Faults::new().capabilities(with(&[SASL])).on("STLS", no()),
        )
        .server(|builder| builder.sasl(["PLAIN", "LOGIN", "CRAM-MD5"]).apop())
        .fails_if_required(Class::Unavailable, &["refused TLS (STLS)"])
        .in_the_clear_if_welcome(&[]),
        row(
            "a_challenge_is_there_and_stls_is_not_granted",
            Faults::new()
                .capabilities(with(&["STLS", "SASL CRAM-MD5 KERBEROS_V4"]))
                .on("STLS", no()),
        )
        .server(|builder| builder.sasl(["CRAM-MD5"]).apop())
        .refused(Class::Unavailable, "STLS is not supported"),
        row("stls_is_refused_without_a_word", refusing("-ERR\r\n"))
            .refused(Class::Unavailable, "it gave no reason"),
        row(
            "stls_is_refused_with_words_that_paint",
            refusing("-ERR \x1b[2J\x1b]0;x\x07TLS is broken, type your password here: \r\n"),
        )
        .refused(Class::Unavailable, "TLS is broken"),
        row(
            "a_login_is_wanted_before_stls",
            refusing("-ERR log in first\r\n").on(
                GREETING,
                Reply::send("+OK no TLS here, send USER and PASS\r\n"),
            ),
        )
        .refused(Class::Unavailable, "log in first"),
        row(
            "the_session_is_said_to_be_open_already",
            refusing("-ERR only before the login\r\n").on(
                GREETING,
                Reply::send("+OK msingh, your mailbox has 3 messages\r\n"),
            ),
        )
        .refused(Class::Unavailable, "only before the login"),
        row(
            "tls_is_said_to_be_there_already",
            refusing("-ERR Command not permitted when TLS active\r\n"),
        )
        .refused(Class::Unavailable, "when TLS active"),
    ]
}

/// Response codes (RFC 2449 §8, RFC 3206), which say who is to blame.
fn codes() -> Vec<Row> {
    vec![
        row(
            "stls_is_refused_for_good",
            refusing("-ERR [SYS/PERM] certificate is missing\r\n"),
        )
        .refused(Class::Unavailable, "certificate is missing"),
        row(
            "stls_is_refused_for_now",
            refusing("-ERR [SYS/TEMP] no entropy\r\n"),
        )
        .refused(Class::Temporary, "no entropy"),
        row(
            "stls_is_refused_because_somebody_is_in_the_mailbox",
            refusing("-ERR [IN-USE] come back later\r\n"),
        )
        .refused(Class::Temporary, "come back later"),
        row(
            "stls_is_refused_because_it_is_too_early",
            refusing("-ERR [LOGIN-DELAY] wait a while\r\n"),
        )
        .refused(Class::Temporary, "wait a while"),
        // The password was not even asked for.
        row(
            "stls_is_refused_because_of_the_password",
            refusing("-ERR [AUTH] wrong password\r\n"),
        )
        .refused(Class::Unavailable, "wrong password"),
        row(
            "stls_is_granted_with_a_warning",
            Faults::new().on(
                "STLS",
                Reply::edit(|_| b"+OK [SYS/PERM] this is the end\r\n".to_vec()),
            ),
        ),
        row(
            "stls_is_granted_with_a_warning_and_does_not_come",
            refusing("+OK [SYS/PERM] this is the end\r\n"),
        )
        .fails(
            Class::Protocol,
            &[
                "answered in plain text instead of TLS",
                "no password was sent",
            ],
        ),
    ]
}

/// Whoever gives up says goodbye, or does not.
fn quits() -> Vec<Row> {
    let before_a_login = |faults: Faults, answer: &'static str| {
        let is_it = |request: &Request<'_>| request.verb == "QUIT" && request.index <= 3;
        faults.rule(move |request| is_it(request).then(|| Reply::send(answer)))
    };
    vec![
        row(
            "stls_and_the_goodbye_are_refused",
            before_a_login(Faults::new().on("STLS", no()), "-ERR stay\r\n"),
        )
        .refused(Class::Unavailable, "STLS is not supported"),
        row(
            "stls_is_refused_and_the_goodbye_is_not",
            before_a_login(Faults::new().on("STLS", no()), "+OK bye\r\n"),
        )
        .refused(Class::Unavailable, "STLS is not supported"),
        row(
            "there_are_no_capabilities_and_the_goodbye_is_refused",
            before_a_login(Faults::new().without_capa(), "-ERR [SYS/PERM] stay\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "there_are_no_capabilities_and_the_goodbye_warns",
            before_a_login(Faults::new().without_capa(), "+OK [SYS/PERM] go\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
    ]
}

fn no_answer() -> Vec<Row> {
    vec![
        row("stls_is_answered_in_smtp", refusing("220 go ahead\r\n")).fails(
            Class::Protocol,
            &["expected the reply to STLS, received `220 go ahead`"],
        ),
        row("stls_is_answered_in_imap", refusing("a1 OK begin TLS\r\n"))
            .fails(Class::Protocol, &["expected the reply to STLS"]),
        row("stls_is_answered_with_an_empty_line", refusing("\r\n"))
            .fails(Class::Protocol, &["expected the reply to STLS"]),
        row("stls_is_answered_with_a_challenge", refusing("+ \r\n"))
            .fails(Class::Protocol, &["expected the reply to STLS"]),
        row(
            "stls_is_answered_with_a_line_without_end",
            Faults::new().on("STLS", Reply::send("+OK ".repeat(300_000))),
        )
        .fails(Class::Protocol, &["a line of more than"]),
        slow(
            "stls_is_not_answered",
            Faults::new().on("STLS", Reply::silence()),
        )
        .fails(Class::Temporary, &["silent"]),
        slow(
            "half_of_the_answer_to_stls_comes_and_the_rest_is_to_come_in_tls",
            Faults::new().on("STLS", Reply::send("+OK beg").stall()),
        )
        .fails(Class::Temporary, &["silent"]),
        row(
            "stls_is_answered_by_closing",
            Faults::new().on("STLS", Reply::hang_up()),
        )
        .fails(Class::Temporary, &["instead of answering STLS"]),
        row(
            "stls_is_answered_by_half_a_line",
            Faults::new().on("STLS", Reply::send("+OK beg").close()),
        )
        .fails(Class::Temporary, &["in the middle of the reply to STLS"]),
        row(
            "stls_is_answered_by_capabilities",
            Faults::new().on("STLS", list(&["USER", "SASL PLAIN"])),
        )
        .fails(Class::Protocol, &["said more than its answer to STLS"]),
        row(
            "stls_is_answered_an_octet_at_a_time",
            Faults::new().write_size(1),
        ),
        row(
            "stls_is_answered_with_bare_line_feeds",
            Faults::new().bare_lf(),
        ),
        row(
            "stls_is_answered_in_two_parts",
            Faults::new().on(
                "STLS",
                Reply::edit(|_| b"+OK begin TLS\r".to_vec())
                    .pause(std::time::Duration::from_millis(20))
                    .then_send("\n"),
            ),
        ),
        // Where TLS is required nobody asks for them.
        row(
            "capabilities_are_answered_by_closing",
            first(Faults::new(), "CAPA", Reply::hang_up()),
        )
        .in_the_clear_if_welcome(&[]),
    ]
}
