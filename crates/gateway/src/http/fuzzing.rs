//! The readers of what a request shows, opened to the crate `fuzz`.

use super::origin::AllowedOrigin;
use super::{address, origin, proxy_protocol, shown};
use crate::auth::AuthConfig;
use http::{HeaderMap, Uri};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// What a path or query says, decoded.
pub fn percent_decoded(text: &str) -> Option<String> {
    shown::percent_decoded(text)
}

/// The first value of a name in the query.
pub fn query(uri: &Uri, name: &str) -> Option<String> {
    shown::query(uri, name)
}

/// The token that a request shows; an error where it shows two.
#[expect(clippy::result_unit_err, reason = "there is one reason")]
pub fn token(auth: &AuthConfig, headers: &HeaderMap, uri: &Uri) -> Result<Option<String>, ()> {
    shown::token(auth, headers, uri).map_err(drop)
}

/// Whether a page of this Origin may connect.
pub fn is_allowed(allowed: &[AllowedOrigin], headers: &HeaderMap, is_tls: bool) -> bool {
    origin::is_allowed(allowed, headers, is_tls)
}

/// Where a request comes from.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    address::client_address(peer, headers, trusted)
}

/// The largest header of the PROXY protocol that is read.
pub const PROXY_HEADER_BYTES_MAX: usize = proxy_protocol::HEADER_BYTES_MAX;

/// What the beginning of a stream says as the PROXY protocol: whom it speaks for, or how many more bytes belong to it.
///
/// # Errors
/// It is no such header.
#[expect(clippy::result_unit_err, reason = "there is one reason")]
pub fn proxy_header(bytes: &[u8]) -> Result<Result<Option<SocketAddr>, usize>, ()> {
    match proxy_protocol::parse(bytes) {
        proxy_protocol::Parsed::Needs(more) => Ok(Err(more)),
        proxy_protocol::Parsed::Whole(address) => Ok(Ok(address)),
        proxy_protocol::Parsed::Malformed => Err(()),
    }
}
