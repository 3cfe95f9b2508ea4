//! Headers as proxies write them, as nobody should, and as chance does.

use super::*;
use proptest::prelude::*;

fn v2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE.as_slice(), &[0x20 | command, family], &length, rest].concat()
}

fn from(address: &str) -> Parsed {
    Parsed::Whole(Some(address.parse().unwrap()))
}

/// Reads as a stream is read: never more than was asked for. What is left is what follows the header.
fn read(stream: &[u8]) -> (Parsed, usize) {
    let mut read = 0;
    loop {
        match parse(&stream[..read]) {
            Parsed::Needs(more) => {
                assert!(more > 0, "it asks for nothing and goes on");
                assert!(read + more <= HEADER_BYTES_MAX, "it asks for more than a header");
                read += more;
                if read > stream.len() {
                    return (Parsed::Needs(read - stream.len()), stream.len());
                }
            }
            parsed => return (parsed, read),
        }
    }
}

#[test]
fn lines_of_version_1_are_read_to_their_end_and_no_further() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", from("192.0.2.1:56324")),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n", from("1.1.1.1:1")),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", from("[2001:db8::1]:1")),
        ("PROXY TCP6 :: :: 1 1\r\n", from("[::]:1")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 7 8\r\n", from("192.0.2.1:7")),
        ("PROXY UNKNOWN\r\n", Parsed::Whole(None)),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Parsed::Whole(None)),
    ] {
        let stream = format!("{line}GET / HTTP/1.1\r\n\r\n");
        assert_eq!(read(stream.as_bytes()), (expected, line.len()), "{line:?}");
    }
}

#[test]
fn what_is_no_line_of_version_1_is_malformed() {
    for stream in [
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\nxxxxxx",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 1\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 1 443\n\nxxxxxxxx",
        "PROXY TCP4 example.org 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UNKNOWNS\r\nxx",
        "proxy TCP4 192.0.2.1 198.51.100.1 1 443\r\n",
    ] {
        assert_eq!(read(stream.as_bytes()).0, Parsed::Malformed, "{stream:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let (parsed, length) = read(endless.as_bytes());
    assert_eq!(parsed, Parsed::Malformed);
    assert!(length <= V1_BYTES_MAX, "{length} bytes were read");
}

#[test]
fn headers_of_version_2_tell_the_source_and_their_tlvs_are_skipped() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 187];
    let tlvs = [4, 0, 3, 1, 2, 3, 0xea, 0, 1, 9];
    let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16], &[0, 80, 1, 187]].concat();
    for (header, expected) in [
        (v2_header(1, 0x11, &v4), from("192.0.2.1:56324")),
        (v2_header(1, 0x11, &[&v4[..], &tlvs].concat()), from("192.0.2.1:56324")),
        (v2_header(1, 0x21, &v6), from("[2001:db8::1]:80")),
        (v2_header(1, 0x21, &[&v6[..], &tlvs].concat()), from("[2001:db8::1]:80")),
        (v2_header(0, 0x00, &[]), Parsed::Whole(None)),
        (v2_header(0, 0x11, &v4), Parsed::Whole(None)),
        (v2_header(1, 0x00, &tlvs), Parsed::Whole(None)),
        (v2_header(1, 0x31, &[0; 216]), Parsed::Whole(None)),
    ] {
        let stream = [&header[..], b"\x16\x03\x01"].concat();
        assert_eq!(read(&stream), (expected, header.len()), "{header:?}");
    }
}

#[test]
fn what_is_no_header_of_version_2_is_malformed() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 1, 187];
    let mut version_3 = v2_header(1, 0x11, &v4);
    version_3[12] = 0x31;
    for header in [
        version_3,
        v2_header(2, 0x11, &v4),
        v2_header(1, 0x41, &v4),
        v2_header(1, 0x11, &v4[..11]),
        v2_header(1, 0x21, &v4),
        v2_header(1, 0x11, &[0; V2_REST_BYTES_MAX + 1]),
    ] {
        assert_eq!(read(&header).0, Parsed::Malformed, "{header:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_looked_at_without_a_fault_and_within_the_bound(
        begin in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 ", b"PROXY UNKNOWN", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"]),
        rest in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let stream = [begin, &rest].concat();
        let (parsed, length) = read(&stream);
        prop_assert!(length <= HEADER_BYTES_MAX);
        prop_assert!(parsed != Parsed::Needs(0));
    }

    #[test]
    fn what_a_proxy_writes_is_what_is_read(
        source in any::<SocketAddr>(), destination in any::<SocketAddr>(), tlvs in prop::collection::vec(any::<u8>(), 0..500),
        follows in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let expected = Parsed::Whole(Some(SocketAddr::new(source.ip().to_canonical(), source.port())));
        let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
        let (v1, v2) = match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => (
                format!("PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port()),
                v2_header(1, 0x11, &[&from.octets()[..], &to.octets(), &ports, &tlvs].concat()),
            ),
            (from, to) => {
                let v6 = |ip: IpAddr| match ip { IpAddr::V4(ip) => ip.to_ipv6_mapped(), IpAddr::V6(ip) => ip };
                let (from, to) = (v6(from), v6(to));
                (
                    format!("PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port()),
                    v2_header(1, 0x21, &[&from.octets()[..], &to.octets(), &ports, &tlvs].concat()),
                )
            }
        };
        for header in [v1.as_bytes(), &v2] {
            let stream = [header, &follows].concat();
            prop_assert_eq!(read(&stream), (expected, header.len()));
        }
    }
}
