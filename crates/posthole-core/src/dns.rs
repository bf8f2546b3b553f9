//! Questions to the DNS.
//!
//! Only what is asked of one server stands here; who is asked, and what an answer is worth, is for
//! those who ask.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Asks by UDP, and by TCP if the answer does not fit.
///
/// That there is no such name or no such record is an answer too.
pub(crate) async fn ask(
    server: SocketAddr,
    name: &Name<Vec<u8>>,
    rtype: Rtype,
) -> Result<Message<Vec<u8>>, String> {
    let query = query(name, rtype).map_err(|_| "the question is too long")?;
    let plain = |error: io::Error| crate::transport::dial::plain(&error);
    let late = |_| "it did not answer in time".to_owned();
    let by_udp = tokio::time::timeout(UDP_LIMIT, by_udp(server, &query));
    let mut answer = by_udp.await.map_err(late)?.map_err(plain)?;
    if answer.header().tc() {
        let by_tcp = tokio::time::timeout(TCP_LIMIT, by_tcp(server, &query));
        answer = by_tcp.await.map_err(late)?.map_err(plain)?;
    }
    match answer.header().rcode() {
        Rcode::NOERROR | Rcode::NXDOMAIN => {}
        // What a validating resolver says about an answer that was tampered with.
        Rcode::SERVFAIL => return Err("it could not find or validate an answer".to_owned()),
        code => return Err(format!("it refused with {code}")),
    }
    Ok(answer)
}

fn query(
    name: &Name<Vec<u8>>,
    rtype: Rtype,
) -> Result<Message<Vec<u8>>, domain::base::message_builder::PushError> {
    let mut message = MessageBuilder::new_vec();
    let header = message.header_mut();
    header.set_random_id();
    header.set_rd(true);
    // Asks to be told whether the answer was validated (RFC 6840 §5.7).
    header.set_ad(true);
    let mut message = message.question();
    message.push((name, rtype))?;
    let mut message = message.additional();
    message.opt(|opt| {
        opt.set_udp_payload_size(UDP_SIZE);
        Ok(())
    })?;
    Ok(message.into_message())
}

async fn by_udp(server: SocketAddr, query: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that only the server's datagrams come through.
    socket.connect(server).await?;
    let mut buffer = [0; UDP_SIZE as usize];
    loop {
        socket.send(query.as_slice()).await?;
        let again = tokio::time::sleep(UDP_AGAIN);
        tokio::pin!(again);
        loop {
            let length = tokio::select! {
                received = socket.recv(&mut buffer) => received?,
                () = &mut again => break,
            };
            // Somebody may be guessing, so what is not the answer is not the end either.
            if let Some(answer) = understand(&buffer[..length], query) {
                return Ok(answer);
            }
        }
    }
}

/// RFC 1035 §4.2.2.
async fn by_tcp(server: SocketAddr, query: &Message<Vec<u8>>) -> io::Result<Message<Vec<u8>>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.as_slice().len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes()[..], query.as_slice()].concat();
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    understand(&answer, query).ok_or_else(|| io::Error::other("its answer makes no sense"))
}

fn understand(octets: &[u8], query: &Message<Vec<u8>>) -> Option<Message<Vec<u8>>> {
    let answer = Message::from_octets(octets.to_vec()).ok()?;
    answer.is_answer(query).then_some(answer)
}

/// What gets through everywhere unfragmented.
const UDP_SIZE: u16 = 1232;
/// How long until a question that may be lost is put again.
const UDP_AGAIN: Duration = Duration::from_secs(1);
pub(crate) const UDP_LIMIT: Duration = Duration::from_secs(4);
pub(crate) const TCP_LIMIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up_on() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let server = silent.local_addr().unwrap();
        let name = Name::vec_from_str("pop.example.org").unwrap();
        let asked = tokio::time::timeout(2 * UDP_LIMIT, ask(server, &name, Rtype::A));
        let answer = asked.await.expect("an end of it");
        assert_eq!(answer.err().as_deref(), Some("it did not answer in time"));
    }
}
