//! What `[ssh.NAME]` takes from ssh_config(5).

use expect_test::expect;

use super::{check_each, parse, render};
use crate::config::{Config, SshBackend};
use crate::plan::{AddressFamily, Rekey, UnknownHostKey};
use std::time::Duration;

fn read(text: &str) -> Config {
    let text = format!("[ssh.h]\n{text}");
    let (config, diagnostics) = parse(&text);
    assert_eq!(render(&text, &diagnostics), "");
    config
}

#[test]
fn every_setting_of_ssh_config_is_understood() {
    let config = read(
        "address-family = 'inet6'
backend = 'builtin'
bind-address = '::1'
certificate = ['~/.ssh/a-cert.pub', 'b']
ciphers = 'aes128-gcm@openssh.com, aes256-ctr'
hash-known-hosts = true
host-key-algorithms = ['ssh-ed25519', 'rsa-sha2-512,rsa-sha2-256']
host-key-alias = 'Alias'
identities-only = true
keepalive-max = 5
kex-algorithms = 'curve25519-sha256'
macs = ['hmac-sha2-256']
password-prompts = 0
preferred-authentications = ['publickey', 'password']
proxy-command = 'nc %h %p'
pubkey-accepted-algorithms = 'ssh-ed25519'
rekey-limit = '1G 1h'
strict-host-key-checking = 'accept-new'
",
    );
    let host = &config.ssh[0];
    macro_rules! value {
        ($field:ident) => {
            host.$field.as_ref().unwrap().value.clone()
        };
    }
    assert_eq!(value!(address_family), AddressFamily::Inet6);
    assert_eq!(value!(backend), SshBackend::BuiltIn);
    assert_eq!(value!(bind_address), "::1");
    assert_eq!(host.certificate.as_ref().unwrap().len(), 2);
    assert_eq!(value!(ciphers), ["aes128-gcm@openssh.com", "aes256-ctr"]);
    assert!(value!(hash_known_hosts));
    assert_eq!(
        value!(host_key_algorithms),
        ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]
    );
    assert_eq!(value!(host_key_alias), "Alias");
    assert!(value!(identities_only));
    assert_eq!(value!(keepalive_max), 5);
    assert_eq!(value!(kex_algorithms), ["curve25519-sha256"]);
    assert_eq!(value!(macs), ["hmac-sha2-256"]);
    assert_eq!(value!(password_prompts), 0);
    assert_eq!(value!(preferred_authentications), ["publickey", "password"]);
    assert_eq!(value!(proxy_command), "nc %h %p");
    assert_eq!(value!(pubkey_accepted_algorithms), ["ssh-ed25519"]);
    let rekey = Rekey {
        octets: Some(1 << 30),
        time: Some(Duration::from_secs(3600)),
    };
    assert_eq!(value!(rekey_limit), rekey);
    assert_eq!(value!(strict_host_key_checking), UnknownHostKey::Record);
}

#[test]
fn a_rekey_limit_is_an_amount_and_perhaps_a_time() {
    let hour = Some(Duration::from_secs(3600));
    for (text, octets, time) in [
        ("1G", Some(1 << 30), None),
        ("512m 1h", Some(512 << 20), hour),
        ("16K", Some(16 << 10), None),
        ("20000 none", Some(20_000), None),
        ("default 1h", None, hour),
        ("none", None, None),
    ] {
        let config = read(&format!("rekey-limit = '{text}'"));
        let limit = config.ssh[0].rekey_limit.as_ref().unwrap().value;
        assert_eq!(limit, Rekey { octets, time }, "{text}");
    }
}

#[test]
fn strictness_has_the_words_of_ssh_config() {
    for (text, expected) in [
        ("'yes'", UnknownHostKey::Refuse),
        ("true", UnknownHostKey::Refuse),
        ("'ask'", UnknownHostKey::Ask),
        ("'accept-new'", UnknownHostKey::Record),
    ] {
        let config = read(&format!("strict-host-key-checking = {text}"));
        let strictness = config.ssh[0].strict_host_key_checking.as_ref().unwrap();
        assert_eq!(strictness.value, expected, "{text}");
    }
}

#[test]
fn mistakes_say_what_to_write_instead() {
    check_each(
        "[ssh.h]\n{}",
        &[
            "address-family = 'ipv6'",
            "backend = 'russh'",
            "bind-address = 'a b'",
            "ciphers = '+aes128-ctr'",
            "ciphers = 'aes128-ctr,'",
            "ciphers = []",
            "ciphers = 'a b'",
            "keepalive-max = 0",
            "keepalive-max = '3'",
            "proxy-command = ' '",
            "rekey-limit = '1T'",
            "rekey-limit = '1K'",
            "rekey-limit = '1G 1h 2'",
            "rekey-limit = '1G 3600'",
            "strict-host-key-checking = false",
            "strict-host-key-checking = 'no'",
            "strict-host-key-checking = 'maybe'",
            "IdentityFile = '~/x'",
            "proxy-jump = 'gate'",
            "server-alive-interval = 30",
            "forward-agent = true",
        ],
        expect![[r#"
            address-family = 'ipv6'
              2:19 `address-family`: unknown family of addresses ^ipv6^
                help: write any, inet (IPv4) or inet6 (IPv6)
            backend = 'russh'
              2:12 `backend`: unknown SSH client ^russh^
                help: write builtin or openssh
            bind-address = 'a b'
              2:17 `bind-address`: a host name cannot hold a blank ^a b^
            ciphers = '+aes128-ctr'
              2:12 `ciphers`: a list is not changed here but written out ^+^
                help: write all names, or put the line into ~/.ssh/config
            ciphers = 'aes128-ctr,'
              2:11 `ciphers`: a name is missing ^'aes128-ctr,'^
            ciphers = []
              2:11 `ciphers` names nothing ^[]^
            ciphers = 'a b'
              2:12 `ciphers`: this cannot be the name of an algorithm ^a b^
            keepalive-max = 0
              2:17 `keepalive-max` must be a number from 1 to 1000 ^0^
            keepalive-max = '3'
              2:17 `keepalive-max` must be a number from 1 to 1000, not a string ^'3'^
                help: write it without quotes
            proxy-command = ' '
              2:18 `proxy-command`: the command is empty ^ ^
            rekey-limit = '1T'
              2:16 `rekey-limit`: this is not an amount of data from 16K to 4G ^1T^
                help: write "1G", "512M 1h" or "default 1h"
            rekey-limit = '1K'
              2:16 `rekey-limit`: this is not an amount of data from 16K to 4G ^1K^
                help: write "1G", "512M 1h" or "default 1h"
            rekey-limit = '1G 1h 2'
              2:16 `rekey-limit`: this is not an amount and a time ^1G 1h 2^
                help: write "1G", "512M 1h" or "default 1h"
            rekey-limit = '1G 3600'
              2:19 `rekey-limit`: the number has no unit ^3600^
                help: write `3600s` for seconds, `3600m` for minutes
            strict-host-key-checking = false
              2:28 host keys are always checked ^false^
                help: write "accept-new" to have unknown ones recorded unasked
            strict-host-key-checking = 'no'
              2:29 `strict-host-key-checking`: host keys are always checked ^no^
                help: write yes (unknown host keys are refused), ask, or accept-new (they are recorded)
            strict-host-key-checking = 'maybe'
              2:29 `strict-host-key-checking`: this is not a way to check host keys ^maybe^
                help: write yes (unknown host keys are refused), ask, or accept-new (they are recorded)
            IdentityFile = '~/x'
              2:1 unknown key `IdentityFile` in [ssh.h] ^IdentityFile^
                help: write identity = "PATH"
            proxy-jump = 'gate'
              2:1 unknown key `proxy-jump` in [ssh.h] ^proxy-jump^
                help: write the hosts as a list in `via`, this one last
            server-alive-interval = 30
              2:1 unknown key `server-alive-interval` in [ssh.h] ^server-alive-interval^
                help: write keepalive = "30s"
            forward-agent = true
              2:1 unknown key `forward-agent` in [ssh.h] ^forward-agent^
                help: known are address-family, agent, backend, bind-address, certificate, ciphers, compression, connect-timeout, hash-known-hosts, host-key-algorithms, host-key-alias, hostname, identities-only, identity, keepalive, keepalive-max, kex-algorithms, known-hosts, macs, password, password-prompts, port, preferred-authentications, proxy-command, pubkey-accepted-algorithms, rekey-limit, strict-host-key-checking, user
        "#]],
    );
}
