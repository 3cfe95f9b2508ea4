//! What comes before HTTP on a stream: a proxy's word about whom it speaks for, and the handshake of TLS.

use super::address::is_trusted;
use super::proxy_protocol::{HEADER_BYTES_MAX, Parsed, parse};
use crate::node::Node;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The type of a TLS record that holds handshake messages (RFC 8446 section 5.1): the first byte of every client.
const HANDSHAKE_RECORD: u8 = 22;

/// A stream that may speak HTTP now, and who is at its other end.
pub(super) struct Arrived {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
}

/// What HTTP is spoken on.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// No TLS where it should be.
    NotTls(TcpStream),
}

/// Why a stream never came to speak HTTP. A closed set: it is also a metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not in time.
    Late,
    /// Only proxies may say for whom they speak, and this is none of them (`trusted_proxies`).
    Stranger,
    /// A proxy that does not say it, or not as it should.
    Header,
    /// The handshake of TLS came to nothing.
    Handshake,
    /// No handshake, but something else: most of the time HTTP.
    NotTls,
    /// It ended before it said anything: somebody looked whether the port is open.
    Gone,
}

impl Failure {
    /// All of them.
    #[cfg(test)]
    const ALL: [Self; 6] = [Self::Late, Self::Stranger, Self::Header, Self::Handshake, Self::NotTls, Self::Gone];

    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Stranger => "proxy_stranger",
            Self::Header => "proxy_header",
            Self::Handshake => "tls_handshake",
            Self::NotTls => "tls_missing",
            Self::Gone => "gone",
        }
    }
}

/// Takes what comes before HTTP; the caller has the deadline.
pub(super) async fn arrive(node: &Node, mut stream: TcpStream, peer: SocketAddr) -> Result<Arrived, Failure> {
    let peer = if node.config.http.proxy_protocol {
        if !is_trusted(peer.ip(), &node.config.http.trusted_proxies) {
            return Err(Failure::Stranger);
        }
        read_header(&mut stream).await?.unwrap_or(peer)
    } else {
        peer
    };
    let Some(tls) = &node.config.tls else { return Ok(Arrived { stream: Stream::Plain(stream), peer }) };
    let mut first = [0];
    if !matches!(stream.peek(&mut first).await, Ok(1)) {
        return Err(Failure::Gone);
    }
    if first[0] != HANDSHAKE_RECORD {
        return Ok(Arrived { stream: Stream::NotTls(stream), peer });
    }
    match tls.accept(stream).await {
        Ok(stream) => Ok(Arrived { stream: Stream::Tls(Box::new(stream)), peer }),
        Err(error) => {
            tracing::debug!(%error, %peer, "a TLS handshake failed");
            Err(Failure::Handshake)
        }
    }
}

/// Reads a PROXY header and not a byte more.
async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Failure> {
    let mut header = Vec::new();
    loop {
        match parse(&header) {
            Parsed::Whole(peer) => return Ok(peer),
            Parsed::Malformed => return Err(Failure::Header),
            Parsed::Needs(more) => {
                let read = header.len();
                if read + more > HEADER_BYTES_MAX {
                    return Err(Failure::Header);
                }
                header.resize(read + more, 0);
                if stream.read_exact(&mut header[read..]).await.is_err() {
                    return Err(if read == 0 { Failure::Gone } else { Failure::Header });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ARRIVAL_FAILURES;

    #[test]
    fn each_failure_is_counted_by_its_word() {
        assert_eq!(Failure::ALL.map(Failure::as_str), ARRIVAL_FAILURES);
    }
}
