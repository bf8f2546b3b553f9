//! Which messages are fetched, what is changed in them, and whom they are for.

use std::fmt::Write;

use posthole_core::message::Envelope;
use posthole_core::plan::{
    DeliverTo, Edits, KeptMail, Multidrop, NameService, Select, StatusFields, Trace,
};

use super::quoted;

/// All fields are named, here and below, so that whoever adds one decides what is written for it.
pub(super) fn select(text: &mut String, select: Select) {
    let Select {
        limit,
        limit_flush,
        fetch_limit,
        kept,
        fetch_all,
        flush,
        expunge,
    } = select;
    if let Some(limit) = limit {
        push!(text, "limit = {limit}  # limit, in octets");
    }
    if limit_flush {
        push!(text, "limit-flush = true  # limitflush");
    }
    if let Some(limit) = fetch_limit {
        push!(text, "fetch-limit = {limit}  # fetchlimit");
    }
    if fetch_all {
        push!(text, "fetch-all = true  # fetchall");
    } else if kept == KeptMail::ComesAgain {
        push!(
            text,
            "# fetchall: what fetchmail has seen is fetched unless its .fetchids are imported."
        );
    }
    if flush {
        push!(text, "flush = true  # flush");
    }
    if let Some(expunge) = expunge {
        push!(text, "expunge = {expunge}  # expunge");
    }
}

pub(super) fn edits(text: &mut String, edits: &Edits) {
    let Edits {
        received,
        return_path,
        rewrite,
        status,
        drop_delivered,
        mimedecode,
        strip_cr,
    } = edits;
    if let Some(Trace {
        from: _,
        account,
        recipient: _,
    }) = received
    {
        push!(
            text,
            "received = true  # fetchmail puts a Received field in front unless it is invisible"
        );
        if account.is_some() {
            push!(text, "tracepolls = true  # tracepolls");
        }
    }
    if *return_path {
        push!(text, "return-path = true");
    }
    if let Some(host) = rewrite {
        push!(
            text,
            "rewrite = {}  # fetchmail completes addresses unless told `no rewrite`",
            quoted(host)
        );
    }
    match status {
        StatusFields::Keep => {}
        StatusFields::DropEmpty => push!(
            text,
            "drop-status = \"empty\"  # fetchmail takes out empty Status fields"
        ),
        StatusFields::Drop => push!(text, "drop-status = true  # dropstatus"),
    }
    if *drop_delivered {
        push!(text, "drop-delivered = true  # dropdelivered");
    }
    if *mimedecode {
        push!(text, "mimedecode = true  # mimedecode");
    }
    if *strip_cr {
        push!(text, "strip-cr = true  # stripcr");
    }
}

/// `host` is what the server is reached by.
pub(super) fn multidrop(text: &mut String, multidrop: &Multidrop, host: &str) {
    let Multidrop {
        rules,
        dns,
        check_alias,
        postmaster,
    } = multidrop;
    let posthole_core::message::Multidrop {
        envelope,
        prefix,
        servers,
        aliases,
        local_domains,
        names,
        passes_others,
    } = rules;
    let list = |texts: &mut dyn Iterator<Item = String>| {
        let texts: Vec<_> = texts.map(|text| quoted(&text)).collect();
        format!("[{}]", texts.join(", "))
    };
    let mut pairs = Vec::new();
    match envelope {
        Envelope::Received { .. } => {}
        Envelope::Field { name, .. } => pairs.push(format!("envelope = {}", quoted(name))),
        Envelope::Nowhere => pairs.push("envelope = false".to_owned()),
    }
    if let Envelope::Received { skip: skip @ 1.. }
    | Envelope::Field {
        skip: skip @ 1.., ..
    } = envelope
    {
        pairs.push(format!("skip = {skip}"));
    }
    if let Some(prefix) = prefix {
        pairs.push(format!("qvirtual = {}", quoted(prefix)));
    }
    // What the server was polled as, where that is not what it is reached by.
    let other = servers
        .iter()
        .filter(|server| !server.eq_ignore_ascii_case(host));
    let mut aka = aliases.iter().chain(other).cloned().peekable();
    if aka.peek().is_some() {
        pairs.push(format!("aka = {}", list(&mut aka)));
    }
    if !local_domains.is_empty() {
        let domains = list(&mut local_domains.iter().cloned());
        pairs.push(format!("localdomains = {domains}"));
    }
    let names = names.iter().map(|(there, here)| match there == here {
        true => there.clone(),
        false => format!("{there}={here}"),
    });
    let mut names = names
        .chain(passes_others.then(|| "*".to_owned()))
        .peekable();
    if names.peek().is_some() {
        pairs.push(format!("names = {}", list(&mut names)));
    }
    match dns {
        NameService::At(server) => pairs.push(format!("dns = {}", quoted(&server.to_string()))),
        NameService::Off => pairs.push("dns = false".to_owned()),
        NameService::System => {}
    }
    if *check_alias {
        pairs.push("checkalias = true".to_owned());
    }
    if let Some(postmaster) = postmaster {
        pairs.push(format!("postmaster = {}", quoted(postmaster)));
    }
    let pairs = pairs.join(", ");
    push!(
        text,
        "# is, envelope, localdomains and their kin: the mail of several people"
    );
    push!(text, "multidrop = {{ {pairs} }}");
}

/// What is said of the handing over to a server; `lose` takes what cannot be written.
pub(super) fn handing_over(text: &mut String, to: &DeliverTo, lose: &mut dyn FnMut(String)) {
    let DeliverTo::Smtp(to) = to else {
        return;
    };
    if let Some(limit) = to.batch_limit {
        push!(text, "batch-limit = {limit}  # batchlimit");
    }
    if !to.antispam.is_empty() {
        let codes: Vec<_> = to.antispam.iter().map(ToString::to_string).collect();
        lose(format!("antispam {}", codes.join(",")));
    }
    if to.servers.len() > 1 {
        lose("smtphost: only the first of the servers is used".to_owned());
    }
}
