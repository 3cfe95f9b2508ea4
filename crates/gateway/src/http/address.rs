//! Where a request really comes from: the last hop that is not one of our own proxies.

use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The client's address. `X-Forwarded-For` is read from the right, and only as far as each hop is trusted to have told
/// the truth about the one before it: what a client has put there itself is never believed.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let values = headers.get_all("x-forwarded-for").iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let values: Vec<_> = values.collect();
    let mut hops = values.iter().rev().flat_map(|value| value.rsplit(',')).map(str::trim);
    while is_trusted(address, trusted) {
        let Some(before) = hops.next().and_then(hop_address) else { break };
        address = before.to_canonical();
    }
    address
}

/// The address in one entry: bare, or with a port as some load balancers write it.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = || hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    bare().or_else(with_port).or_else(bracketed)
}

/// Whether this is one of our own proxies.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn address(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_s_word_about_itself_is_not_believed() {
        assert_eq!(address("198.51.100.7", &["192.0.2.1"], &[]), "198.51.100.7");
        assert_eq!(address("198.51.100.7", &["192.0.2.1"], &["10.0.0.0/8"]), "198.51.100.7");
    }

    #[test]
    fn entries_may_have_ports_and_brackets() {
        let ours = ["10.0.0.0/8", "2001:db8:1::/48"];
        for (entry, expected) in [
            ("192.0.2.1:40000", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ] {
            assert_eq!(address("10.0.0.1", &[entry], &ours), expected, "{entry}");
            let through = format!("203.0.113.9, {entry}, [2001:db8:1::2]:8080");
            assert_eq!(address("10.0.0.1", &[&through], &ours), expected, "{through}");
        }
        for junk in ["unknown", "_hidden", "192.0.2.1:", "192.0.2", "[2001:db8::1", "2001:db8::1]:1", "192.0.2.1 x"] {
            assert_eq!(address("10.0.0.1", &[junk], &ours), "10.0.0.1", "{junk}");
        }
    }

    #[test]
    fn of_several_headers_the_last_one_is_the_nearest() {
        let ours = ["10.0.0.0/8"];
        let spoofed = ["203.0.113.1, 203.0.113.2", "203.0.113.3", "192.0.2.1, 10.0.0.3", "10.0.0.2"];
        assert_eq!(address("10.0.0.1", &spoofed, &ours), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["10.9.9.9, 10.0.0.2"], &ours), "10.9.9.9", "all of them ours");
    }

    #[test]
    fn the_last_hop_that_is_not_ours_counts() {
        let ours = ["10.0.0.0/8"];
        assert_eq!(address("10.0.0.1", &["192.0.2.1"], &ours), "192.0.2.1");
        assert_eq!(
            address("10.0.0.1", &["203.0.113.9, 192.0.2.1"], &ours),
            "192.0.2.1",
            "what it claims is further left"
        );
        assert_eq!(address("10.0.0.1", &["203.0.113.9", "192.0.2.1, 10.0.0.2"], &ours), "192.0.2.1");
        assert_eq!(address("::ffff:10.0.0.1", &["192.0.2.1"], &ours), "192.0.2.1");
        assert_eq!(address("10.0.0.1", &["junk"], &ours), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &["192.0.2.1, junk"], &ours), "10.0.0.1", "nothing left of junk is believed");
        assert_eq!(address("10.0.0.1", &["192.0.2.1, "], &ours), "10.0.0.1");
        assert_eq!(address("10.0.0.1", &[], &ours), "10.0.0.1");
    }
}
