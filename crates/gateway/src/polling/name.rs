//! By what a session is asked for: the node and the connection, and a secret that nobody may guess.

use protocol::forward::Secret;
use std::fmt::Write;
use tokio_rustls::rustls::crypto::aws_lc_rs;

/// A secret from the system's source of chance; `None` if that fails.
pub fn secret() -> Option<Secret> {
    let mut secret = Secret::default();
    aws_lc_rs::default_provider().secure_random.fill(&mut secret).ok()?;
    Some(secret)
}

/// A session's name: the connection's id, which bears its node, and the secret.
pub fn sid(client: &str, secret: &Secret) -> String {
    let mut sid = format!("{client}.");
    for byte in secret {
        // Writing to a string cannot fail.
        let _ = write!(sid, "{byte:02x}");
    }
    sid
}

/// The parts of a session's name: the connection's id, and the secret.
pub fn parse_sid(sid: &str) -> Option<(&str, Secret)> {
    let (client, hex) = sid.rsplit_once('.')?;
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = Secret::default();
    for (byte, digits) in secret.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some((client, secret))
}

/// Whether two secrets are the same, in a time that does not say where they differ.
pub fn is_same(one: &Secret, other: &Secret) -> bool {
    one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_s_name_bears_its_connection_and_its_secret() {
        let secret = [0xab; 16];
        let sid = sid("n1.a.0100000000000007", &secret);
        assert_eq!(parse_sid(&sid), Some(("n1.a.0100000000000007", secret)));
        for wrong in ["", "x", "n1.a.01", "n1.zz", &sid[1..sid.len() - 1], &sid.replace("ab", "+b")] {
            assert!(parse_sid(wrong).is_none_or(|(client, _)| client != "n1.a.0100000000000007"), "{wrong}");
        }
        assert!(is_same(&secret, &secret) && !is_same(&secret, &[0; 16]));
        assert_ne!(super::secret(), super::secret());
    }
}
