//! The kinds of messages in the corpus, one function each.

use crate::base64;
use crate::rng::Rng;

/// Message `i` of a corpus. Each kind comes in turn first, then at random.
pub(super) fn message(seed: u64, i: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed.wrapping_mul(0x1000_0001).wrapping_add(i as u64));
    let kind = if i < KINDS.len() {
        i
    } else {
        rng.below(KINDS.len())
    };
    let mut writer = Writer {
        id: format!("{seed}.{i}"),
        rng,
        out: Vec::new(),
    };
    KINDS[kind](&mut writer);
    writer.out
}

/// A plain message of about 2.5 KB.
pub(super) fn small(i: usize) -> Vec<u8> {
    prose(
        Writer::new(format!("small.{i}"), 0x5a11_0000 + i as u64),
        2_400,
    )
}

/// A plain message of at least that many octets, and a little more.
pub(super) fn text(i: usize, octets: usize) -> Vec<u8> {
    prose(
        Writer::new(format!("text.{i}"), 0x7e87_0000 + i as u64),
        octets,
    )
}

/// A plain message, or each fifth time one with an attachment.
pub(super) fn mixed(i: usize) -> Vec<u8> {
    let mut rng = Rng::new(0x313d_0000 + i as u64);
    if i % 5 == 4 {
        attached(i, rng.between(20_000, 150_000))
    } else {
        text(i, rng.between(2_000, 16_000))
    }
}

/// A message with an attachment of that many octets.
pub(super) fn attached(i: usize, octets: usize) -> Vec<u8> {
    let mut w = Writer::new(format!("attached.{i}"), 0xa77a_0000 + i as u64);
    w.header("multipart/mixed; boundary=\"=_part_0\"");
    w.line("--=_part_0");
    w.line("Content-Type: text/plain; charset=us-ascii");
    w.line("");
    w.paragraphs();
    w.line("--=_part_0");
    w.line("Content-Type: application/octet-stream; name=\"data.bin\"");
    w.line("Content-Disposition: attachment; filename=\"data.bin\"");
    w.line("Content-Transfer-Encoding: base64");
    w.line("");
    w.base64(octets);
    w.line("--=_part_0--");
    w.out
}

fn prose(mut writer: Writer, octets: usize) -> Vec<u8> {
    writer.header("text/plain; charset=us-ascii");
    while writer.out.len() < octets {
        writer.sentence();
        writer.line("");
    }
    writer.out
}

const KINDS: &[fn(&mut Writer)] = &[
    plain,
    alternative,
    attachment,
    latin1,
    utf8_everywhere,
    quoted_printable,
    dots,
    dots_at_once,
    from_lines,
    starts_with_from,
    long_line,
    long_header,
    no_body,
    header_only,
    body_only,
    no_final_newline,
    bare_crs,
    cr_cr_lf,
    forwarded,
    mailing_list,
    control_characters,
    trailing_blanks,
    tiny,
    garbage_header,
];

struct Writer {
    id: String,
    rng: Rng,
    out: Vec<u8>,
}

impl Writer {
    fn new(id: String, seed: u64) -> Self {
        Self {
            id,
            rng: Rng::new(seed),
            out: Vec::new(),
        }
    }

    fn line(&mut self, text: impl AsRef<[u8]>) {
        self.out.extend_from_slice(text.as_ref());
        self.out.extend_from_slice(b"\r\n");
    }

    /// The header of an ordinary message, with the empty line after it.
    fn header(&mut self, content_type: &str) {
        self.header_without_end();
        self.line("MIME-Version: 1.0");
        self.line(format!("Content-Type: {content_type}"));
        self.line("");
    }

    fn header_without_end(&mut self) {
        let (from, host) = (self.rng.pick(NAMES), self.rng.pick(HOSTS));
        let (day, hour) = (self.rng.between(1, 28), self.rng.between(0, 23));
        let (minute, second) = (self.rng.below(60), self.rng.below(60));
        let date = format!("{day:02} Mar 2024 {hour:02}:{minute:02}:{second:02} +0100");
        let id = self.id.clone();
        let address = format!("{}@{host}", from.to_lowercase().replace(' ', "."));
        let subject = self.words(4);
        self.line(format!("Return-Path: <{address}>"));
        self.line(format!(
            "Received: from mx.{host} (mx.{host} [192.0.2.{day}])"
        ));
        self.line(format!(
            "\tby popserver.example.edu (Postfix) with ESMTPS id {day:02X}{hour:02X}"
        ));
        self.line(format!("\tfor <msingh@example.edu>; {date}"));
        self.line(format!("From: {from} <{address}>"));
        self.line("To: Manmeet Singh <msingh@example.edu>");
        self.line(format!("Subject: {subject}"));
        self.line(format!("Date: {date}"));
        self.line(format!("Message-ID: <{id}.{hour}{minute}@{host}>"));
    }

    fn words(&mut self, n: usize) -> String {
        (0..n)
            .map(|_| self.rng.pick(WORDS))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A few lines of prose.
    fn sentence(&mut self) {
        for _ in 0..self.rng.between(1, 4) {
            let n = self.rng.between(5, 11);
            let words = self.words(n);
            self.line(format!("{words}."));
        }
    }

    fn paragraphs(&mut self) {
        for _ in 0..self.rng.between(1, 8) {
            self.sentence();
            self.line("");
        }
    }

    fn base64(&mut self, octets: usize) {
        let bytes = self.rng.bytes(octets);
        for line in bytes.chunks(57) {
            self.line(base64::encode(line));
        }
    }
}

fn plain(w: &mut Writer) {
    w.header("text/plain; charset=us-ascii");
    w.paragraphs();
}

fn alternative(w: &mut Writer) {
    w.header("multipart/alternative; boundary=\"=_alt\"");
    w.line("This is a multi-part message in MIME format.");
    w.line("--=_alt");
    w.line("Content-Type: text/plain; charset=utf-8");
    w.line("Content-Transfer-Encoding: 8bit");
    w.line("");
    w.paragraphs();
    w.line("Grüße aus Zürich — « à bientôt » 🐦");
    w.line("--=_alt");
    w.line("Content-Type: text/html; charset=utf-8");
    w.line("");
    w.line("<html><body style=\"font-size:10pt\">");
    for _ in 0..w.rng.between(3, 30) {
        let words = w.words(8);
        w.line(format!("<p class=\"MsoNormal\">{words}&nbsp;<br></p>"));
    }
    w.line("</body></html>");
    w.line("--=_alt--");
}

fn attachment(w: &mut Writer) {
    w.header("multipart/mixed; boundary=\"----=_NextPart_000_0001\"");
    w.line("------=_NextPart_000_0001");
    w.line("Content-Type: text/plain");
    w.line("");
    w.sentence();
    w.line("------=_NextPart_000_0001");
    w.line("Content-Type: application/pdf; name=\"report.pdf\"");
    w.line("Content-Transfer-Encoding: base64");
    w.line("Content-Disposition: attachment; filename=\"report.pdf\"");
    w.line("");
    // The first of a corpus is always a large one, so that small corpora have one.
    let octets = if w.id.ends_with(".2") {
        150_000
    } else {
        w.rng.between(2_000, 120_000)
    };
    w.base64(octets);
    w.line("------=_NextPart_000_0001--");
}

fn latin1(w: &mut Writer) {
    w.header("text/plain; charset=iso-8859-1");
    w.line(b"Sehr geehrter Herr Singh, \xfcber M\xfcnchen nach K\xf6ln, Stra\xdfe gesperrt.");
    w.sentence();
    w.line(b"\xa9 \xae \xff\xfe\x80\x81 \x93quoted\x94");
}

fn utf8_everywhere(w: &mut Writer) {
    w.line("From: Jürgen Müller <jürgen@müller.example>");
    w.line("Subject: Überraschung für Dich ✉ — тест — 試験");
    w.line(format!("Message-ID: <{}.utf8@müller.example>", w.id));
    w.line("");
    w.line("Ελληνικά, русский, 日本語, हिन्दी, 🎉");
    w.sentence();
}

fn quoted_printable(w: &mut Writer) {
    w.header("text/plain; charset=utf-8");
    w.line("Caf=C3=A9 au lait, s=");
    w.line("oft line breaks=20");
    w.line("=2E");
    w.sentence();
}

fn dots(w: &mut Writer) {
    w.header("text/plain");
    for line in [
        ".", "..", "...", ".foo", ". ", "a.", ". .", "", ".", "", "..bar", ".\t.",
    ] {
        w.line(line);
    }
    w.sentence();
    w.line(".");
}

fn dots_at_once(w: &mut Writer) {
    w.line("");
    w.line(".");
    w.line(format!(".{}", w.id));
    w.line("");
    w.line(".");
    w.line(".");
}

fn from_lines(w: &mut Writer) {
    w.header("text/plain");
    w.sentence();
    w.line("");
    w.line("From here on it gets complicated.");
    w.line(">From there it was easy.");
    w.line(">>From nowhere.");
    w.line("");
    w.line("From msingh@example.edu Sat Mar  2 10:11:12 2024");
    w.line("Subject: not a message of its own");
    w.line("");
    w.sentence();
}

fn starts_with_from(w: &mut Writer) {
    w.line("From root@localhost Fri Mar  1 00:00:01 2024");
    w.line("From: Cron Daemon <root@localhost>");
    w.line(format!("Message-ID: <{}.cron@localhost>", w.id));
    w.line("");
    w.paragraphs();
}

fn long_line(w: &mut Writer) {
    w.header("text/html");
    let n = if w.id.ends_with(".10") {
        120_000
    } else {
        w.rng.between(1_000, 60_000)
    };
    let word = w.words(6);
    let mut line = String::with_capacity(n + 100);
    while line.len() < n {
        line.push_str("<td>");
        line.push_str(&word);
        line.push_str("</td>");
    }
    w.line(line);
}

fn long_header(w: &mut Writer) {
    w.header_without_end();
    let report = "x".repeat(w.rng.between(2_000, 20_000));
    w.line(format!("X-Spam-Report: {report}"));
    w.line("References:");
    for i in 0..w.rng.between(20, 200) {
        w.line(format!("\t<{i}.{}@lists.example.org>", w.id));
    }
    w.line("");
    w.sentence();
}

fn no_body(w: &mut Writer) {
    w.header_without_end();
    w.line("");
}

fn header_only(w: &mut Writer) {
    w.line(format!("Subject: nothing but a header {}", w.id));
    w.line("X-Empty:");
}

fn body_only(w: &mut Writer) {
    w.line("");
    w.line(format!("no header at all in {}", w.id));
    w.sentence();
}

fn no_final_newline(w: &mut Writer) {
    w.header("text/plain");
    w.sentence();
    w.out.extend_from_slice(b"the end, without a line end");
}

fn bare_crs(w: &mut Writer) {
    w.header("text/plain");
    w.line("from a very old\rMacintosh\rwith line ends of its own");
    w.line("progress: 10%\rprogress: 20%\rdone");
    w.line("\r. a dot after a bare CR");
}

fn cr_cr_lf(w: &mut Writer) {
    w.header("text/plain");
    w.line("converted once too often\r");
    w.line("\r");
    w.line(".\r");
    w.sentence();
}

fn forwarded(w: &mut Writer) {
    w.header("multipart/digest; boundary=\"fwd\"");
    w.line("--fwd");
    w.line("Content-Type: message/rfc822");
    w.line("");
    plain(w);
    w.line("--fwd");
    w.line("");
    quoted_printable(w);
    w.line("--fwd--");
}

fn mailing_list(w: &mut Writer) {
    w.header_without_end();
    w.line("List-Id: Posthole users <posthole-users.lists.example.org>");
    w.line("List-Unsubscribe: <https://lists.example.org/leave>,");
    w.line(" <mailto:leave@lists.example.org?subject=unsubscribe>");
    w.line("Precedence: list");
    w.line("Subject: =?utf-8?B?UmU6IEbDvG5m?=");
    w.line(" =?utf-8?Q?_und_sechs?=");
    w.line("");
    for _ in 0..w.rng.between(2, 10) {
        let words = w.words(9);
        w.line(format!("> {words}"));
    }
    w.paragraphs();
    w.line("-- ");
    w.line("posthole-users mailing list");
}

fn control_characters(w: &mut Writer) {
    w.line("Subject: \u{1b}]0;owned\u{7}\u{1b}[31mred\u{1b}[0m");
    w.line(format!("Message-ID: <{}.esc@example.org>", w.id));
    w.line("");
    w.line(b"\x01\x02\x03\x07\x08\x0b\x0c\x1a\x1b\x7f");
}

fn trailing_blanks(w: &mut Writer) {
    w.header("text/plain; format=flowed");
    w.line("a line that flows ");
    w.line("\t \t");
    w.line("    ");
    for _ in 0..w.rng.between(1, 6) {
        w.line("");
    }
}

fn tiny(w: &mut Writer) {
    w.line(w.id.clone());
}

fn garbage_header(w: &mut Writer) {
    w.line("this is not a header field");
    w.line(" continuation of nothing");
    w.line(": no name");
    w.line("Subject no colon");
    w.line(format!("X-Id: {}", w.id));
    w.line("");
    w.sentence();
}

const NAMES: &[&str] = &[
    "Ada Lovelace",
    "Grace Hopper",
    "Ken Thompson",
    "Radia Perlman",
    "Jon Postel",
    "Marshall Rose",
];
const HOSTS: &[&str] = &[
    "example.org",
    "example.com",
    "example.net",
    "uni.example.edu",
];
const WORDS: &[&str] = &[
    "mail",
    "server",
    "the",
    "a",
    "of",
    "reading",
    "tunnel",
    "harbour",
    "message",
    "delivery",
    "and",
    "with",
    "without",
    "yesterday",
    "morning",
    "postman",
    "letter",
    "stamp",
    "never",
    "arrives",
    "twice",
    "lost",
    "found",
    "queue",
    "attachment",
    "meeting",
    "minutes",
    "agenda",
    "please",
    "find",
    "enclosed",
    "regards",
    "waiting",
    "for",
    "your",
    "answer",
];
