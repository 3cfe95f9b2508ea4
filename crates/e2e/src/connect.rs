//! Opening a connection: what is said in the handshake, and what comes of it.

use crate::client::{Client, Duplex, Stream};
use crate::tls::{self, Trust};
use crate::{Answer, PATIENCE};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// A connection that is about to be opened.
#[derive(Debug)]
pub struct Connect {
    address: SocketAddr,
    request: Request,
    receive_buffer_bytes: Option<u32>,
    preamble: Vec<u8>,
    tls: Option<Trust>,
}

impl Connect {
    /// To this port and path.
    pub fn to(address: SocketAddr, path: &str) -> Self {
        let request = format!("ws://{address}{path}").into_client_request().expect("an address");
        Self { address, request, receive_buffer_bytes: None, preamble: Vec::new(), tls: None }
    }

    /// With a token in the header.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// As the page of a browser.
    #[must_use]
    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    /// As a page of the gateway's own host.
    #[must_use]
    pub fn as_page(self) -> Self {
        let origin = format!("http://{}", self.address);
        self.origin(&origin)
    }

    /// Offering these subprotocols.
    #[must_use]
    pub fn subprotocols(self, names: &[&str]) -> Self {
        self.header("sec-websocket-protocol", &names.join(", "))
    }

    /// With any header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the name of a header");
        self.request.headers_mut().insert(name, HeaderValue::from_str(value).expect("the value of a header"));
        self
    }

    /// With a query behind the path.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        let uri = format!("{}?{query}", self.request.uri());
        *self.request.uri_mut() = uri.parse().expect("an address");
        self
    }

    /// With room for so little in the kernel that a client which does not read is soon noticed.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer_bytes = Some(bytes);
        self
    }

    /// By TLS, with a node whose certificate is trusted so.
    #[must_use]
    pub fn by_tls(mut self, trust: &Trust) -> Self {
        self.tls = Some(trust.clone());
        self
    }

    /// With these bytes before all others, as a proxy has them.
    #[must_use]
    pub fn preamble(mut self, bytes: &[u8]) -> Self {
        self.preamble = bytes.to_vec();
        self
    }

    /// Opens it and waits for the `welcome`.
    pub async fn open(self) -> Client {
        let mut client = self.open_bare().await;
        client.await_welcome().await;
        client
    }

    /// Opens it, and waits for nothing: a raw relay has no welcome.
    pub async fn open_bare(self) -> Client {
        let address = self.address;
        match self.handshake().await {
            Ok((stream, subprotocol)) => Client::new(stream, subprotocol),
            Err(refused) => panic!("{address} refused the handshake: {refused:?}"),
        }
    }

    /// Expects that the handshake is refused.
    pub async fn refused(self) -> Answer {
        match self.handshake().await {
            Ok(_) => panic!("the handshake was not refused"),
            Err(refused) => refused,
        }
    }

    /// Opens it and waits for the `welcome`, or gives the answer that refuses it.
    ///
    /// # Errors
    /// When the gateway refuses the handshake.
    pub async fn try_open(self) -> Result<Client, Answer> {
        let (stream, subprotocol) = self.handshake().await?;
        let mut client = Client::new(stream, subprotocol);
        client.await_welcome().await;
        Ok(client)
    }

    async fn handshake(self) -> Result<(Stream, Option<String>), Answer> {
        let stream = dial(self.address, self.receive_buffer_bytes).await;
        let mut stream = stream.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", self.address));
        stream.write_all(&self.preamble).await.expect("the first bytes sent");
        let stream: Box<dyn Duplex> = match &self.tls {
            Some(trust) => Box::new(tls::shake(trust, stream).await.unwrap_or_else(|error| panic!("no TLS: {error}"))),
            None => Box::new(stream),
        };
        let shaken = timeout(PATIENCE, tokio_tungstenite::client_async(self.request, stream)).await;
        match shaken.unwrap_or_else(|_| panic!("{} does not answer the handshake", self.address)) {
            Ok((stream, response)) => {
                let subprotocol = response.headers().get("sec-websocket-protocol");
                Ok((stream, subprotocol.and_then(|name| name.to_str().ok()).map(str::to_owned)))
            }
            Err(Error::Http(response)) => {
                let (parts, body) = response.into_parts();
                let line =
                    |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap_or(""));
                let head = parts.headers.iter().map(line).collect();
                let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                Err(Answer { status: parts.status.as_u16(), head, body })
            }
            Err(error) => panic!("the handshake with {} failed: {error}", self.address),
        }
    }
}

/// Connects; an error if nobody listens.
pub(crate) async fn dial(address: SocketAddr, receive_buffer_bytes: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let connected = timeout(PATIENCE, socket.connect(address)).await;
    let stream = connected.unwrap_or_else(|_| panic!("{address} does not accept connections"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
