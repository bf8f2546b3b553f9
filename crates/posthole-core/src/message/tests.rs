use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

/// What becomes of a text that comes in parts of `size` octets.
fn edit_in_parts(edits: &Edits, text: &[u8], size: usize) -> Vec<u8> {
    let arrived = UNIX_EPOCH + Duration::from_secs(917_000_000);
    let mut editor = Editor::new(Arc::new(edits.clone()), arrived);
    let mut out = Vec::new();
    for part in text.chunks(size) {
        editor.push(part, &mut out, &mut |_| None);
    }
    editor.finish(&mut out, &mut |_| None);
    out
}

fn edit(edits: &Edits, text: &str) -> String {
    let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let whole = edit_in_parts(edits, &latin1, usize::MAX);
    for size in [1, 2, 7] {
        assert_eq!(
            edit_in_parts(edits, &latin1, size),
            whole,
            "in parts of {size}"
        );
    }
    whole.into_iter().map(char::from).collect()
}

#[track_caller]
fn check(edits: &Edits, table: &[(&str, &str)]) {
    for (text, expected) in table {
        assert_eq!(&edit(edits, text), expected, "{text:?}");
    }
}

fn qualify() -> Edits {
    Edits {
        qualify: Some("h".to_owned()),
        ..Edits::default()
    }
}

fn received() -> Edits {
    Edits {
        received: Some(Received {
            from: "pop.example.org".to_owned(),
            address: Some("192.0.2.1".parse().unwrap()),
            by: "laptop".to_owned(),
            with: "POP3",
            account: None,
            recipient: Some(Recipient {
                address: "me@laptop".to_owned(),
                how: "single-drop",
            }),
            zone: jiff::tz::TimeZone::UTC,
        }),
        ..Edits::default()
    }
}

const MARK: &str = "Received: from pop.example.org [192.0.2.1]
\tby laptop with POP3 (posthole-0.1.0)
\tfor <me@laptop> (single-drop); Fri, 22 Jan 1999 10:13:20 +0000
";

// What fetchmail 6.4.37 made of the same addresses.
#[test]
fn addresses_without_a_host_are_given_one_and_nothing_else_changes() {
    check(
        &qualify(),
        &[
            ("To: al\n\n", "To: al@h\n\n"),
            ("To: al", "To: al@h"),
            ("From: Joe Bloggs <joe>\n\n", "From: Joe Bloggs <joe@h>\n\n"),
            ("From: only header\n\n", "From: only header@h\n\n"),
            (
                "To: a, \"B, b\" <b@x>, c (d), e\n",
                "To: a@h, \"B, b\" <b@x>, c@h (d), e@h\n",
            ),
            ("Cc:b,\n\tc,\n  <d>\n\n", "Cc:b@h,\n\tc@h,\n  <d@h>\n\n"),
            ("Cc: group: f, g@x;, <>\n", "Cc: group: f@h, g@x;, <>\n"),
            (
                "Bcc: undisclosed-recipients:;\n",
                "Bcc: undisclosed-recipients:;\n",
            ),
            ("From: a!b\n", "From: a!b\n"),
            (
                "To: joe@, \"a@b\", a.b, joe (x@y)\n",
                "To: joe@, \"a@b\", a.b@h, joe@h (x@y)\n",
            ),
            (
                "To: (c) joe (d), \"joe\", <@a,@b:c@d>\n",
                "To: (c) joe@h (d), \"joe\", <@a,@b:c@d>\n",
            ),
            (
                "To: \"n\\\"x\" <joe>, <\"a b\">\n",
                "To: \"n\\\"x\" <joe@h>, <\"a b\"@h>\n",
            ),
            ("Return-Path: <bounce>\n", "Return-Path: <bounce@h>\n"),
            ("Return-Path: <>\n", "Return-Path: <>\n"),
            ("Cc: \nBcc:\n\n", "Cc: \nBcc:\n\n"),
            (
                "reply-to: a\nSender: b\nErrors-To: c\n",
                "reply-to: a@h\nSender: b@h\nErrors-To: c\n",
            ),
            (
                "TO :al\nX-To: al\n\nTo: al\n",
                "TO :al\nX-To: al\n\nTo: al\n",
            ),
            ("To: un\"closed, a\n", "To: un\"closed, a\n"),
            ("To: un(closed, a\n", "To: un(closed, a\n"),
        ],
    );
}

#[test]
fn our_mark_stands_above_all_but_the_last_delivery() {
    let mark = |before: &str, after: &str| format!("{before}{MARK}{after}");
    for (before, after) in [
        ("", "From: joe\n\ntext\n"),
        ("Return-Path: <a@b>\n", "From: joe\n\ntext\n"),
        ("Return-Path: <>\n", "Received: from x\n\tby y\n\n"),
        (
            "From joe Mon Jan  1 00:00:00 1999\nReturn-Path: <a>\n",
            "X: y\n\n",
        ),
        (">From joe\n", "X: y\n\n"),
        ("", "Return-Path:\nX: y\n\n"),
        ("", "X: y\nReturn-Path: <a>\n\n"),
        ("", "\nno header at all\n"),
        ("", "no field\nFrom: x\n\n"),
        ("", ""),
    ] {
        let text = format!("{before}{after}");
        assert_eq!(edit(&received(), &text), mark(before, after), "{text:?}");
    }
}

#[test]
fn a_name_cannot_break_out_of_our_mark() {
    let mut edits = received();
    let mark = edits.received.as_mut().unwrap();
    mark.from = "a\nX-Spoof: b".to_owned();
    mark.account = Some(("b (c".to_owned(), "d) e\\".to_owned()));
    mark.address = Some("2001:db8::1".parse().unwrap());
    mark.recipient = None;
    assert_eq!(
        edit(&edits, "\n"),
        "Received: from a_X-Spoof:_b [IPv6:2001:db8::1]
\tby laptop with POP3 (posthole-0.1.0 polling b__c account d__e_); Fri, 22 Jan 1999 10:13:20 +0000

"
    );
}

#[test]
fn marks_of_other_programs_are_taken_out_as_far_as_wanted() {
    let text = "Status: \nX-Mozilla-Status:\nStatus: RO\nX-Mozilla-Status: 0001\nX-Status: A
Delivered-To: joe\n\nStatus: RO\n";
    let with = |status, drop_delivered| Edits {
        status,
        drop_delivered,
        ..Edits::default()
    };
    assert_eq!(edit(&with(StatusFields::Keep, false), text), text);
    assert_eq!(
        edit(&with(StatusFields::DropEmpty, false), text),
        text.strip_prefix("Status: \nX-Mozilla-Status:\n").unwrap()
    );
    assert_eq!(
        edit(&with(StatusFields::Drop, true), text),
        "X-Status: A\n\nStatus: RO\n"
    );
}

#[test]
fn carriage_returns_are_taken_out_wherever_they_stand() {
    let edits = Edits {
        strip_cr: true,
        ..received()
    };
    assert_eq!(
        edit(&edits, "X: a\rb\n\r\nc\r\rd\r"),
        format!("{MARK}X: ab\n\ncd")
    );
}

#[test]
fn quoted_printable_text_is_decoded() {
    let edits = Edits {
        decode_mime: true,
        ..Edits::default()
    };
    let qp = "Content-Transfer-Encoding: Quoted-Printable\n";
    let eight = "Content-Transfer-Encoding: 8bit\n";
    let multipart = "Content-Type: multipart/mixed; boundary=\"b b\"\n\n=41\n";
    for (text, expected) in [
        (
            format!("{qp}\n=E9 x=\ny\n=zz=4\nend="),
            format!("{eight}\n\u{e9} xy\n=zz=4\nend="),
        ),
        (
            format!("{qp}Content-Type: image/png\n\n=E9\n"),
            format!("{eight}Content-Type: image/png\n\n=E9\n"),
        ),
        (
            format!("{multipart}--b b\n{qp}\n=42\n--b b\n\n=43\n--b b--\n=44\n"),
            format!("{multipart}--b b\n{eight}\n\u{42}\n--b b\n\n=43\n--b b--\n=44\n"),
        ),
        (
            format!(
                "{multipart}--b b\nContent-Type: multipart/x;\n boundary=c; y\n\n--c\n{qp}\n=42\n--b b\n\n=43\n--c\n{qp}\n=44\n"
            ),
            format!(
                "{multipart}--b b\nContent-Type: multipart/x;\n boundary=c; y\n\n--c\n{eight}\nB\n--b b\n\n=43\n--c\n{qp}\n=44\n"
            ),
        ),
        (
            "Subject: =?x?Q?H=E9_l?= =?x?b?bG8=?= x =?y\n\n".to_owned(),
            "Subject: H\u{e9} llo x =?y\n\n".to_owned(),
        ),
        (
            "To: =?x?q?J=F6rg?=\n <j>\n\n".to_owned(),
            "To: J\u{f6}rg\n <j>\n\n".to_owned(),
        ),
        (
            "Subject: =?x?q?a=0AX:_y?=\n\n".to_owned(),
            "Subject: aX: y\n\n".to_owned(),
        ),
    ] {
        assert_eq!(edit(&edits, &text), expected, "{text:?}");
    }
}

#[test]
fn a_header_without_end_passes_as_it_is() {
    let long = "X: ".to_owned() + &"To: al, \n ".repeat(HEADER_LIMIT / 8);
    let edits = Edits {
        received: received().received,
        ..qualify()
    };
    let edited = edit_in_parts(&edits, long.as_bytes(), 4096);
    assert_eq!(edited, format!("{MARK}{long}").as_bytes());
}

proptest! {
    #[test]
    fn without_edits_every_octet_stays(text in prop::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
        prop_assert_eq!(edit_in_parts(&Edits::default(), &text, size), text);
    }

    #[test]
    fn the_size_of_the_parts_makes_no_difference(
        text in r"(Received: |To: |Status: |Content-Type: multipart/mixed; boundary=b|=\?x\?q\?|\?=|--b|[ -~\r\n\t]{0,8}|\n\n){0,20}",
        size in 1..20_usize,
    ) {
        let edits = Edits {
            status: StatusFields::Drop,
            drop_delivered: true,
            decode_mime: true,
            strip_cr: true,
            received: received().received,
            ..qualify()
        };
        let whole = edit_in_parts(&edits, text.as_bytes(), usize::MAX);
        prop_assert_eq!(edit_in_parts(&edits, text.as_bytes(), size), whole);
    }
}
