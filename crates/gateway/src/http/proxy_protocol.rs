//! The PROXY protocol, versions 1 and 2: what a proxy that knows nothing of HTTP says in front of everything else about
//! whom it speaks for. Pure; <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with, and version 1 cannot.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// The largest rest of a version 2 header: addresses take up to 216 bytes, and TLVs follow them. What proxies put there
/// (a TLS version, an id of a cloud's endpoint) is some 100 bytes.
const V2_REST_BYTES_MAX: usize = 2048;

/// The longest line of version 1, its end included (section 2.1).
const V1_BYTES_MAX: usize = 107;

/// The largest header that is read.
pub(super) const HEADER_BYTES_MAX: usize = V2_FIXED_BYTES + V2_REST_BYTES_MAX;

/// What the bytes of a header amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// So many more bytes belong to the header at least: no more may be read, or it would be what follows.
    Needs(usize),
    /// A whole header. `None`: the proxy speaks for itself (LOCAL), or does not know for whom (UNKNOWN).
    Whole(Option<SocketAddr>),
    /// This is no header.
    Malformed,
}

/// Looks at what has been read so far, which is never more than the last answer asked for.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] == SIGNATURE[..common] && !bytes.is_empty() {
        return v2(bytes);
    }
    v1(bytes)
}

fn v2(bytes: &[u8]) -> Parsed {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED_BYTES) else {
        return Parsed::Needs(V2_FIXED_BYTES - bytes.len());
    };
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if fixed[12] >> 4 != 2 || fixed[12] & 0xf > 1 || length > V2_REST_BYTES_MAX {
        return Parsed::Malformed;
    }
    if rest.len() < length {
        return Parsed::Needs(length - rest.len());
    }
    // LOCAL: a health check of the proxy's own, whatever else it says.
    if fixed[12] & 0xf == 0 {
        return Parsed::Whole(None);
    }
    match fixed[13] {
        // TCP over IPv4: source, destination, their ports. What follows are TLVs.
        0x11 => match rest.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, p, q, _, _]) => whole(Ipv4Addr::new(a, b, c, d).into(), [p, q]),
            None => Parsed::Malformed,
        },
        0x21 => match (rest.first_chunk::<16>(), rest.get(32..36)) {
            (Some(source), Some(ports)) => whole(Ipv6Addr::from(*source).into(), [ports[0], ports[1]]),
            _ => Parsed::Malformed,
        },
        // UNSPEC, and what comes neither by TCP nor from an address: the connection's own address counts (section 2.2).
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Parsed::Whole(None),
        _ => Parsed::Malformed,
    }
}

fn whole(address: IpAddr, port: [u8; 2]) -> Parsed {
    Parsed::Whole(Some(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(port))))
}

/// The least bytes of each kind of line, so that few reads get it without a byte of what follows.
const V1_KINDS: [(&[u8], usize); 3] = [
    (b"PROXY TCP4 ", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n".len()),
    (b"PROXY TCP6 ", "PROXY TCP6 :: :: 1 1\r\n".len()),
    (b"PROXY UNKNOWN", "PROXY UNKNOWN\r\n".len()),
];

fn v1(bytes: &[u8]) -> Parsed {
    if let Some(line) = bytes.strip_suffix(b"\r\n") {
        return v1_line(line);
    }
    let fits = |kind: &[u8]| {
        let common = bytes.len().min(kind.len());
        bytes[..common] == kind[..common]
    };
    let kinds = V1_KINDS.iter().filter(|(kind, _)| fits(kind));
    let Some(least) = kinds.map(|(_, least)| least.saturating_sub(bytes.len())).min() else {
        return Parsed::Malformed;
    };
    let least = least.max(if bytes.last() == Some(&b'\r') { 1 } else { 2 });
    // An end within the line is none that the proxy meant.
    if bytes.len() + least > V1_BYTES_MAX || bytes.windows(2).any(|two| two[0] == b'\r' || two[0] == b'\n') {
        return Parsed::Malformed;
    }
    Parsed::Needs(least)
}

fn v1_line(line: &[u8]) -> Parsed {
    if line.len() + 2 > V1_BYTES_MAX {
        return Parsed::Malformed;
    }
    let Some(words) = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("PROXY ")) else {
        return Parsed::Malformed;
    };
    if words == "UNKNOWN" || words.starts_with("UNKNOWN ") {
        return Parsed::Whole(None);
    }
    let words: Vec<_> = words.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else { return Parsed::Malformed };
    let address = |text: &str| match family {
        "TCP4" => text.parse().ok().map(IpAddr::V4),
        "TCP6" => text.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    // Digits alone: `parse` would take a sign.
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    match (address(source), address(destination), port(source_port), port(destination_port)) {
        (Some(source), Some(_), Some(port), Some(_)) => {
            Parsed::Whole(Some(SocketAddr::new(source.to_canonical(), port)))
        }
        _ => Parsed::Malformed,
    }
}

#[cfg(test)]
#[path = "proxy_protocol/tests.rs"]
mod tests;
