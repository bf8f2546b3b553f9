//! Anything at all from the server.

use posthole_proto::fuzz;
use proptest::collection::vec;
use proptest::prelude::*;

/// Lines that come close to what a server may say.
fn server_octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "(\\+OK|-ERR|\\+ok|\\+|\\.|\\.\\.|\\.x|1 a|2 20| 3  b c|x)".prop_map(String::into_bytes),
        1 => "\\+ ?[A-Za-z0-9+/]{0,8}={0,2}".prop_map(String::into_bytes),
        1 => "\\+OK [0-9]{1,30} [0-9]{1,30}".prop_map(String::into_bytes),
        1 => "(PIPELINING|SASL A B|[A-Z]{1,30})".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..120),
    ];
    let end = prop_oneof![8 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    vec((piece, end), 0..30).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(piece, end)| [piece, end.into()].concat())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_outcome_does_not_depend_on_how_octets_arrive(
        commands in "[AaCDLlPQRSsTUuXN1-3]{0,12}",
        sizes in vec(1u8..20, 0..6),
        octets in server_octets(),
    ) {
        let mut data = commands.into_bytes();
        data.push(b'\n');
        data.extend(sizes.into_iter().filter(|size| *size != b'\n'));
        data.push(b'\n');
        data.extend(octets);
        fuzz::pop3_client(&data);
    }

    #[test]
    fn no_octets_at_all_can_hurt(data in vec(any::<u8>(), 0..200)) {
        fuzz::pop3_client(&data);
    }

    #[test]
    fn no_challenge_can_hurt_or_convince(
        mechanism in "[BCLPSX+]",
        nonce in "(fyko\\+d2lbbFgONRv9qkxdawL)?[!-~]{0,3}",
        salt in "[A-Za-z0-9+/]{0,8}",
        // Few that cost time.
        iterations in "(409[5-7]|-?[0-9]{1,3}|[0-9]{8,21}|)",
        rest in vec("(v=|e=)?[ -~]{0,30}", 0..5),
    ) {
        let mut data = mechanism.into_bytes();
        data.extend(format!("r={nonce},s={salt},i={iterations}\n").into_bytes());
        data.extend(rest.join("\n").into_bytes());
        fuzz::sasl(&data);
    }
}
