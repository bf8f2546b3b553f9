//! Connections, against what the other side makes of them.

use posthole_testkit::tls::{self as testkit, Identity, Request};
use rustls::ServerConnection;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::plan::Pin;

/// Shakes hands with a server in memory, and returns what both sides know of it.
async fn shake_hands(server: testkit::Tls, identity: &Identity) -> (Secured, ServerConnection) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let tls = Tls {
        pins: vec![certificate::fingerprint(&identity.der().into())],
        ..Tls::never("mail.example.org")
    };
    let address = HostPort {
        host: "mail.example.org".to_owned(),
        port: 110,
    };
    let limit = Duration::from_secs(20);
    let client = Client::prepare(&tls, &address, &Arc::default(), limit).await;
    let client = client.unwrap();
    let accept = TlsAcceptor::from(server.config()).accept(theirs);
    let (ours, theirs) = tokio::join!(client.handshake(Box::new(ours)), accept);
    let (_stream, secured) = ours.unwrap();
    (secured, theirs.unwrap().into_inner().1)
}

#[tokio::test]
async fn both_sides_bind_to_the_same_connection() {
    let identity = Request::new(&["mail.example.org"]).self_signed();
    let server = testkit::Tls::new(&identity);
    let mut exporters = Vec::new();
    for _ in 0..2 {
        let (secured, connection) = shake_hands(server.clone(), &identity).await;
        let theirs = connection
            .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
            .unwrap();
        assert_eq!(secured.binding.exporter, Some(theirs));
        let digest = Sha256::digest(identity.der()).to_vec();
        assert_eq!(secured.binding.server_end_point, Some(digest));
        assert_eq!(
            format!("{:?}", secured.binding),
            "ChannelBinding { exporter: true, server_end_point: true }"
        );
        exporters.push(theirs);
    }
    assert_ne!(exporters[0], exporters[1], "no connection is like another");

    let (secured, _) = shake_hands(server.only_tls_1_2(), &identity).await;
    assert_eq!(secured.parameters.version, "TLS 1.2");
    assert_eq!(secured.binding.exporter, None);
    assert!(secured.binding.server_end_point.is_some());
}

#[tokio::test]
async fn nothing_is_resumed_and_nothing_sent_early_whatever_the_server_offers() {
    let identity = Request::new(&["mail.example.org"]).self_signed();
    let mut server = rustls::ServerConfig::clone(&testkit::Tls::new(&identity).config());
    server.max_early_data_size = u32::MAX;
    server.send_tls13_tickets = 20;
    server.alpn_protocols = vec![b"pop3".to_vec()];
    let server = TlsAcceptor::from(Arc::new(server));
    let tls = Tls {
        pins: vec![certificate::fingerprint(&identity.der().into())],
        ..Tls::never("mail.example.org")
    };
    let address = HostPort {
        host: "mail.example.org".to_owned(),
        port: 995,
    };
    let limit = Duration::from_secs(20);
    let client = Client::prepare(&tls, &address, &Arc::default(), limit).await;
    let client = client.unwrap();
    for _ in 0..3 {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (ours, theirs) = tokio::join!(client.handshake(Box::new(ours)), server.accept(theirs));
        let ((mut ours, _), mut theirs) = (ours.unwrap(), theirs.unwrap());
        // What is read after the tickets has seen them.
        theirs.write_all(b"+OK\r\n").await.unwrap();
        ours.read_exact(&mut [0; 5]).await.unwrap();
        let connection = theirs.get_mut().1;
        assert!(connection.early_data().is_none());
        assert_eq!(connection.alpn_protocol(), None);
        let kind = connection.handshake_kind().unwrap();
        assert_ne!(kind, rustls::HandshakeKind::Resumed);
    }
}

#[test]
fn the_end_point_is_the_certificates_digest_by_its_own_hash() {
    let p256 = Request::new(&["a"]).self_signed();
    let p384 = Request::new(&["a"]).p384().self_signed();
    let ed25519 = Request::new(&["a"]).ed25519().self_signed();
    let pem = |pem: &str| -> Vec<u8> {
        let lines = pem.lines().filter(|line| !line.starts_with("-----"));
        let base64 = lines.collect::<String>();
        data_encoding::BASE64.decode(base64.as_bytes()).unwrap()
    };
    let (pss, sha1) = (pem(RSA_PSS_SHA512), pem(RSA_SHA1));
    for (what, der, digest) in [
        (
            "P-256",
            p256.der(),
            Some(Sha256::digest(p256.der()).to_vec()),
        ),
        (
            "P-384",
            p384.der(),
            Some(Sha384::digest(p384.der()).to_vec()),
        ),
        // RFC 5929 §4.1 leaves it undefined where there is no hash function.
        ("Ed25519", ed25519.der(), None),
        ("PSS", &pss, Some(Sha512::digest(&pss).to_vec())),
        ("SHA-1", &sha1, Some(Sha256::digest(&sha1).to_vec())),
    ] {
        let der = der.to_vec().into();
        assert_eq!(certificate::server_end_point(&der), digest, "{what}");
    }
}

#[test]
fn a_certificate_is_read_for_people() {
    let names = [
        "mail.example.org",
        "*.example.org",
        "192.0.2.7",
        "2001:db8::7",
    ];
    let identity = Request::new(&names)
        .common_name("Mail\u{1b}[31m")
        .self_signed();
    let read = Certificate::read(&identity.der().into()).unwrap();
    assert_eq!(read.names, names);
    assert_eq!(read.subject, "CN=Mail\\1b[31m");
    assert!(read.is_self_signed());
    let digest = Sha256::digest(identity.der());
    assert_eq!(read.fingerprint, Pin::Certificate(digest.into()));
    let nonsense = b"no certificate".as_slice().into();
    assert_eq!(Certificate::read(&nonsense), None);
}

/// Octets that come before the handshake is over cannot be taken for those after it.
#[tokio::test]
async fn a_stream_hands_on_nothing_that_came_before_its_handshake() {
    let identity = Request::new(&["mail.example.org"]).self_signed();
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(b"+OK injected\r\n").await.unwrap();
    let tls = Tls {
        pins: vec![certificate::fingerprint(&identity.der().into())],
        ..Tls::never("mail.example.org")
    };
    let address = HostPort {
        host: "mail.example.org".to_owned(),
        port: 110,
    };
    let client = Client::prepare(&tls, &address, &Arc::default(), Duration::from_secs(20)).await;
    let client = client.unwrap();
    let error = client.handshake(Box::new(ours)).await.err().unwrap();
    let TlsError::NotTls { received, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(received, "+OK injected");
    // Of ours there was a handshake, and perhaps an alert.
    let mut heard = Vec::new();
    theirs.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.first(), Some(&22));
}

/// `openssl req -x509 -newkey rsa:2048 -sha512 -sigopt rsa_padding_mode:pss`
const RSA_PSS_SHA512: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIDZTCCAhmgAwIBAgIUYs9RrVKjqlpW8nuRCnzwn7sqy34wQQYJKoZIhvcNAQEK\n\
MDSgDzANBglghkgBZQMEAgMFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgMF\n\
AKIDAgFAMA4xDDAKBgNVBAMMA3BzczAeFw0yNjExMjQwOTAyNDNaFw0yNjExMjUw\n\
OTAyNDNaMA4xDDAKBgNVBAMMA3BzczCCASIwDQYJKoZIhvcNAQEBBQADggEPADCC\n\
AQoCggEBALFBlX162WZZRhao496AN0rDFcRayKXWkelQbTe0AIcDfCpWNx8ipZx9\n\
OfaaruEXly2Icj0x4u6+zFBqBrDEhUGO+0JK8aDTHmm0iZix3ZvykmX0YMlv1dVL\n\
3G/RhRT5PGKZ0Wq7l25F1Whn5A3k0VEOVHPw8zZITCm4SepKSRoXGwt+gxYBetwQ\n\
hwH6wcUDOmIlvCEruMViVT0dRGCdyOCz096xmebs57QhXAb16MT6z7msbu9NG20Z\n\
veR3077aCNG+zB/mVH1kQ76gbcDrsfSua3k60P/emKQYFE5grFYB/Hnnf/TnHRpf\n\
8fNs+xZmMU2TF4e1k8kpc1f8R7MNZo0CAwEAAaNTMFEwHQYDVR0OBBYEFD5dpvcj\n\
j3wbJsya1+kenlv/GvcJMB8GA1UdIwQYMBaAFD5dpvcjj3wbJsya1+kenlv/GvcJ\n\
MA8GA1UdEwEB/wQFMAMBAf8wQQYJKoZIhvcNAQEKMDSgDzANBglghkgBZQMEAgMF\n\
AKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgMFAKIDAgFAA4IBAQBgP4jzTYip\n\
VcR6Di14dur3mT4DxXM615ucwXB6/rtZ9444zLnMWPM2VwqYpUEfmy7xL6A54kvS\n\
NDVIB+m/cZdKyuugfnXALVYCbdfpaHHiMkAsD1Xbtfut5SGeI+AMFLbP+bpFC08Y\n\
T1far6EpjN2rH93MlC1wZcBaAaURgkhZS5IBzxsrjtHIeOr0e245RteF4uWXqZb7\n\
etbHRfriGZTFwmchQADGvUA+XqtdX/GWnifgQ1A6ZhCmldgUV98dr9fjcZDpzrbX\n\
bozLgzSR0mvi6HX+fa5RT/cQrcQxP9mNnpha7D/TvGqyrA1j7ZrRzUCvkcAACBWV\n\
FzP2no/PhsI0\n\
-----END CERTIFICATE-----\n";

/// `openssl req -x509 -newkey rsa:2048 -sha1`
const RSA_SHA1: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIC/zCCAeegAwIBAgIUcZjceqDHXyqD3feJJ7TUdZ7sL/AwDQYJKoZIhvcNAQEF\n\
BQAwDzENMAsGA1UEAwwEc2hhMTAeFw0yNjExMjQwOTAyNDRaFw0yNjExMjUwOTAy\n\
NDRaMA8xDTALBgNVBAMMBHNoYTEwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEK\n\
AoIBAQCmf9sxHYL8GPm23uyVS/qV7YLpPKRDRz5NykKonmjWbuEpX775wZ1N15cW\n\
DCKIi0oKvCQYEI/cnzQUeIw2qX/PYioutPIodH6GNzH3RHUFFNScMwOLs6PfwsvD\n\
uSu9RIwM6CGyxug6uosAbf6D7Ixzoxs4Ez1ROI3M4/TYCL3oUk+TvbwfIPKdRL4z\n\
rSB2DYVSWiZEhPhamhcUzn0+8D78ckZDn3Tn+4vw1PxwrL8FsqzumOgrZtX57Qt6\n\
1iAiRwe0S1pYNAbl0yI7kpMUbNmRY0YzeAMu8YwA4CLHeKAgob+iB57eC3YfACIO\n\
rcei80oYrGs5H/Qda5RKrNcRPykDAgMBAAGjUzBRMB0GA1UdDgQWBBSmPD6eBDQH\n\
HuTWamoLvD5aeoZjwzAfBgNVHSMEGDAWgBSmPD6eBDQHHuTWamoLvD5aeoZjwzAP\n\
BgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBBQUAA4IBAQA2FNhBreECNiAuUyL1\n\
Rt2qpQ2ic7GO0kpPZYWXX6QPNnIZo0SrWFj4OV1gvTJEsHjKaKITozxvptloVmR1\n\
kPJW/M0SbS4RYRIYVJeEjHeJ2PVdHqe2lwt021c6FnGE/s9TXX2F+k+/yFtT6lVz\n\
gAxegrmOk5W7xXzymV8N1zqq/CBqkBVSn/IRnw2rerVbl2yU3IKXFfBHv5D+Nosj\n\
UOfhMQZ5t3IoOBG0j6B9a+X2vCEmNw0Vnd7mbqo0IfUA7Zk9oxLONhr3+m5KJuAA\n\
4VpWiEdLcepd8eWsvoTunFagYc3lXWc15pwlxy/fovU2lp3Jb+UlkCYWXAwok/qv\n\
1cbC\n\
-----END CERTIFICATE-----\n";
