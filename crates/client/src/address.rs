//! Where nodes are, and which of them is next.

use crate::ConfigError;
use crate::backoff::after;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::Uri;

/// The address of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
    is_tls: bool,
}

impl Address {
    /// Reads a URL such as `ws://localhost:8080/ws`.
    pub(crate) fn parse(url: &str, may_be_tls: bool) -> Result<Self, ConfigError> {
        let wrong = |reason| ConfigError::Url { url: url.to_owned(), reason };
        let uri: Uri = url.parse().map_err(|_| wrong("it cannot be read"))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") if may_be_tls => true,
            Some("wss") => return Err(wrong("TLS needs a transport of your own")),
            _ => return Err(wrong("it begins with ws:// or wss://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        // Brackets set an IPv6 address apart from its port in a URL, and nowhere else.
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { uri, host, port, is_tls })
    }

    /// The name or the IP address of the host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port: 80 or 443 if the URL does not say.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the URL begins with `wss://`.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uri, f)
    }
}

/// All nodes of a client, taken in turn. A node that said when it takes connections again is not asked before.
#[derive(Debug)]
pub(crate) struct Addresses {
    all: Vec<(Address, Option<Instant>)>,
    current: usize,
}

impl Addresses {
    /// Begins at a random one: clients that were given the same list are spread over it.
    pub(crate) fn new(all: Vec<Address>, random: &mut fastrand::Rng) -> Self {
        let current = if all.is_empty() { 0 } else { random.usize(..all.len()) };
        Self { all: all.into_iter().map(|address| (address, None)).collect(), current }
    }

    pub(crate) fn current(&self) -> Option<Address> {
        self.all.get(self.current).map(|(address, _)| address.clone())
    }

    /// The present one takes nobody before then.
    pub(crate) fn hold_off(&mut self, until: Instant) {
        if let Some((_, not_before)) = self.all.get_mut(self.current) {
            *not_before = Some(until);
        }
    }

    /// Goes on to the next that may be asked after `wait`, or to the one that may be asked soonest, and says when.
    pub(crate) fn advance(&mut self, now: Instant, wait: Duration) -> Instant {
        let earliest = after(now, wait);
        let count = self.all.len().max(1);
        let in_turn = (1..=count).map(|step| (self.current + step) % count);
        let moments = in_turn.map(|index| match self.all.get(index) {
            // The wait comes on top, so that those who were held off together do not come back together.
            Some((_, Some(not_before))) if *not_before > earliest => (after(*not_before, wait), index),
            _ => (earliest, index),
        });
        let (moment, index) = moments.min_by_key(|(moment, _)| *moment).unwrap_or((earliest, 0));
        self.current = index;
        moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;

    fn addresses(hosts: &[&str]) -> Addresses {
        let all = hosts.iter().map(|host| Address::parse(&format!("ws://{host}/ws"), false).unwrap()).collect();
        Addresses { current: 0, ..Addresses::new(all, &mut fastrand::Rng::with_seed(1)) }
    }

    fn host(addresses: &Addresses) -> String {
        addresses.current().unwrap().host().to_owned()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_url_says_host_and_port() {
        let read = |url| Address::parse(url, true).map(|a| (a.host().to_owned(), a.port(), a.is_tls()));
        assert_eq!(read("ws://localhost:8080/ws"), Ok(("localhost".into(), 8080, false)));
        assert_eq!(read("ws://chat.example/ws"), Ok(("chat.example".into(), 80, false)));
        assert_eq!(read("wss://chat.example/ws"), Ok(("chat.example".into(), 443, true)));
        assert_eq!(read("ws://[::1]:7301/ws"), Ok(("::1".into(), 7301, false)));
    }

    #[test]
    fn what_is_no_gateways_url_is_refused_with_a_reason() {
        for url in ["", "localhost:8080", "/ws", "http://localhost/ws", "ws://", "ws:///ws", "ws://a b/ws"] {
            assert!(Address::parse(url, true).is_err(), "{url:?}");
        }
        let error = Address::parse("wss://chat.example/ws", false).unwrap_err().to_string();
        assert!(error.contains("transport"), "{error}");
    }

    #[test]
    fn nodes_are_taken_in_turn() {
        let mut addresses = addresses(&["a", "b", "c"]);
        let now = Instant::now();
        let hosts: Vec<_> = (0..4)
            .map(|_| {
                assert_eq!(addresses.advance(now, seconds(1)), now + seconds(1));
                host(&addresses)
            })
            .collect();
        assert_eq!(hosts, ["b", "c", "a", "b"]);
    }

    #[test]
    fn a_node_that_takes_nobody_is_passed_over_until_then() {
        let mut addresses = addresses(&["a", "b"]);
        let now = Instant::now();
        addresses.hold_off(now + seconds(30));
        assert_eq!((addresses.advance(now, NO_WAIT), host(&addresses).as_str()), (now, "b"));
        assert_eq!((addresses.advance(now, NO_WAIT), host(&addresses).as_str()), (now, "b"));
        let later = now + seconds(30);
        assert_eq!((addresses.advance(later, NO_WAIT), host(&addresses).as_str()), (later, "a"));
    }

    #[test]
    fn where_all_take_nobody_the_soonest_is_waited_for_and_the_random_wait_comes_on_top() {
        let mut addresses = addresses(&["a", "b"]);
        let now = Instant::now();
        addresses.hold_off(now + seconds(9));
        addresses.advance(now, NO_WAIT);
        addresses.hold_off(now + seconds(5));
        assert_eq!((addresses.advance(now, seconds(1)), host(&addresses).as_str()), (now + seconds(6), "b"));
    }

    #[test]
    fn clients_begin_at_different_nodes() {
        let first = |seed| {
            let all = ["ws://a/", "ws://b/"].map(|url| Address::parse(url, false).unwrap()).to_vec();
            host(&Addresses::new(all, &mut fastrand::Rng::with_seed(seed)))
        };
        let begun_at_a = (0..100).filter(|seed| first(*seed) == "a").count();
        assert!((30..70).contains(&begun_at_a), "{begun_at_a} of 100");
    }
}
