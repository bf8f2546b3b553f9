//! Changes to messages, filters and multidrop.

use std::net::SocketAddr;

use expect_test::expect;

use super::{ACCOUNT, check_each, parse, render};
use crate::config::{MultidropOptions, Options, Rewrite};
use crate::message::{Envelope, StatusFields};
use crate::plan::NameService;

fn read(options: &str) -> Options {
    let text = ACCOUNT.replace("{}", options);
    let (config, diagnostics) = parse(&text);
    assert_eq!(render(&text, &diagnostics), "");
    config.accounts[0].options.clone()
}

fn multidrop(text: &str) -> MultidropOptions {
    let read = read(&format!("multidrop = {{ {text} }}")).multidrop;
    read.unwrap().value
}

#[test]
fn every_change_is_understood() {
    let options = read(
        "received = true
tracepolls = true
return-path = true
rewrite = 'example.org'
drop-status = 'empty'
drop-delivered = true
mimedecode = true
strip-cr = true
fetch-all = true
flush = true
expunge = 10
batch-limit = 20
filter = ['~/filter', '%S']",
    );
    let edits = &options.edits;
    for on in [
        &edits.received,
        &edits.tracepolls,
        &edits.return_path,
        &edits.drop_delivered,
        &edits.mimedecode,
        &edits.strip_cr,
        &options.fetch_all,
        &options.flush,
    ] {
        assert!(on.as_ref().unwrap().value);
    }
    assert_eq!(
        edits.rewrite.as_ref().unwrap().value,
        Rewrite::To("example.org".to_owned())
    );
    assert_eq!(
        edits.drop_status.as_ref().unwrap().value,
        StatusFields::DropEmpty
    );
    assert_eq!(options.expunge.unwrap().value, 10);
    assert_eq!(options.batch_limit.unwrap().value, 20);
    assert_eq!(options.filter.unwrap().value, ["~/filter", "%S"]);
    assert_eq!(
        read("filter = \"f 'a b'\"").filter.unwrap().value,
        ["f", "a b"]
    );
    let rewrite = |text| read(text).edits.rewrite.unwrap().value;
    assert_eq!(rewrite("rewrite = true"), Rewrite::Server);
    assert_eq!(rewrite("rewrite = false"), Rewrite::Off);
}

#[test]
fn multidrop_is_understood() {
    let all = multidrop(
        "envelope = 'Delivered-To', skip = 2, qvirtual = 'user-', aka = ['a.org', 'b.org'], \
         localdomains = 'c.org', names = ['joe', 'max.power=max', '*'], dns = '192.0.2.1', \
         checkalias = true, postmaster = 'root'",
    );
    let same = ("joe".to_owned(), "joe".to_owned());
    let other = ("max.power".to_owned(), "max".to_owned());
    assert_eq!(
        all,
        MultidropOptions {
            envelope: Envelope::Field {
                name: "Delivered-To".to_owned(),
                skip: 2,
            },
            qvirtual: Some("user-".to_owned()),
            aka: vec!["a.org".to_owned(), "b.org".to_owned()],
            localdomains: vec!["c.org".to_owned()],
            names: vec![same, other],
            passes_others: true,
            dns: NameService::At(SocketAddr::from(([192, 0, 2, 1], 53))),
            checkalias: true,
            postmaster: Some("root".to_owned()),
        }
    );
    let least = multidrop("names = '*'");
    assert_eq!(
        (least.envelope, least.dns),
        (Envelope::default(), NameService::System)
    );
    let without = multidrop("names = '*', envelope = false, dns = false");
    assert_eq!(
        (without.envelope, without.dns),
        (Envelope::Nowhere, NameService::Off)
    );
    let dns = multidrop("names = '*', dns = '[::1]:5353'").dns;
    assert_eq!(dns, NameService::At("[::1]:5353".parse().unwrap()));
}

#[test]
fn what_is_no_change_filter_or_multidrop_is_refused() {
    check_each(
        ACCOUNT,
        &[
            "received = 'yes'",
            "rewrite = 7",
            "rewrite = 'a b'",
            "drop-status = 'all'",
            "expunge = 0",
            "filter = ''",
            "filter = []",
            "filter = \"f 'a\"",
            "multidrop = true",
            "multidrop = { }",
            "multidrop = { names = 'joe', postmastr = 'x' }",
            "multidrop = { names = ['joe', 'a b', '=x'] }",
            "multidrop = { names = 'joe', envelope = 'To: ' }",
            "multidrop = { envelope = false, names = 'joe', skip = 1 }",
            "multidrop = { names = 'joe', dns = 'resolver' }",
        ],
        expect![[r#"
            received = 'yes'
              3:12 `received` must be true or false, not a string ^'yes'^
                help: write it without quotes
            rewrite = 7
              3:11 `rewrite` must be true, false or a host, such as "example.org", not a number ^7^
            rewrite = 'a b'
              3:12 `rewrite`: a host name cannot hold a blank ^a b^
            drop-status = 'all'
              3:15 `drop-status` must be true, false or "empty", not a string ^'all'^
            expunge = 0
              3:11 `expunge` must be a number from 1 to 4294967295 ^0^
                help: leave it out for no limit
            filter = ''
              3:10 `filter`: the command is empty ^''^
            filter = []
              3:10 `filter`: the command is empty ^[]^
            filter = \"f 'a\"
              3:11 `filter`: a quote in the command is not closed ^f 'a^
                help: or write the words as a list: ["grep", "-q", "^List-Id:"]
            multidrop = true
              3:13 `multidrop` must be a table, not true or false ^true^
                help: write multidrop = { envelope = "X-Original-To", names = ["msingh"] }
            multidrop = { }
              3:1 `multidrop`: nobody is named whom mail could be for ^multidrop^
                help: write names = ["msingh", "max.power=max"], or "*" for everybody
            multidrop = { names = 'joe', postmastr = 'x' }
              3:30 unknown key `postmastr` in `multidrop` ^postmastr^ did you mean `postmaster`?
                help: known are aka, checkalias, dns, envelope, localdomains, names, postmaster, qvirtual, skip
            multidrop = { names = ['joe', 'a b', '=x'] }
              3:33 `names`: a recipient has no blanks, commas, semicolons, brackets or control characters ^ ^
                help: write one recipient in each string: ["msingh", "max@example.org"]
              3:38 `names`: the recipient is empty ^'=x'^
            multidrop = { names = 'joe', envelope = 'To: ' }
              3:42 `envelope`: this cannot be the name of a field ^To: ^
                help: write it without a colon, such as "X-Original-To"
            multidrop = { envelope = false, names = 'joe', skip = 1 }
              3:55 `skip` counts fields that `envelope` names ^1^
                help: write envelope = "Delivered-To" beside it, or leave it out
            multidrop = { names = 'joe', dns = 'resolver' }
              3:37 `dns`: this is not the address of a resolver ^resolver^
                help: write ADDRESS or ADDRESS:PORT, such as "192.0.2.53", or dns = false to ask nobody
        "#]],
    );
}
