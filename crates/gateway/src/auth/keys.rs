//! Keys that check signatures. Each knows its algorithms: a token's header only chooses among those, never beyond them.

use super::claims::Claims;
use super::{AuthError, explain};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use std::str::FromStr;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// The least bytes of an RSA modulus: 2048 bits (RFC 7518 section 3.3).
const RSA_MODULUS_MIN_BYTES: usize = 256;

/// The bytes of an uncompressed point: one that says so, and two coordinates.
const P256_POINT_BYTES: usize = 65;
const P384_POINT_BYTES: usize = 97;

/// The most keys of a file or a published set: a token that names none is tried with each.
pub(super) const KEYS_MAX: usize = 32;

/// One key.
#[derive(Clone)]
pub struct Key {
    /// Its name in a published set (`kid`).
    pub(super) id: Option<Box<str>>,
    pub(super) algorithms: &'static [Algorithm],
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    /// Without the key, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Key {
    /// A secret that whoever signs has too.
    pub(super) fn secret(secret: &str) -> Self {
        Self { id: None, algorithms: HMAC, key: DecodingKey::from_secret(secret.as_bytes()) }
    }

    /// The public keys of a PEM file: RSA, P-256, P-384 or Ed25519, one after another.
    ///
    /// # Errors
    /// What of the file is not such a key.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((label, block, after)) = next_block(rest)? {
            if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
                return Err(format!("holds a {label}: only PUBLIC KEYs belong there"));
            }
            keys.push(one_of_pem(block.as_bytes())?);
            rest = after;
        }
        match keys.len() {
            0 => Err("holds no PUBLIC KEY in PEM".to_owned()),
            n if n > KEYS_MAX => Err(format!("holds more than {KEYS_MAX} keys")),
            _ => Ok(keys),
        }
    }

    /// A key of a published set; `None` for one that is not for signatures, or that the gateway does not know or trust: a
    /// secret that is published is none.
    pub(super) fn from_jwk(value: Value) -> Option<Self> {
        let only = match value.get("alg") {
            Some(name) => Some(Algorithm::from_str(name.as_str()?).ok()?),
            None => None,
        };
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let is_for_signatures = jwk.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && jwk.common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) if is_strong(&key) => RSA,
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => P256,
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P384 => P384,
            AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => ED25519,
            _ => return None,
        };
        let algorithms = match only {
            Some(only) => algorithms.chunks(1).find(|one| one.contains(&only))?,
            None => algorithms,
        };
        Some(Self { id: jwk.common.key_id.map(Into::into), algorithms, key })
    }

    /// Checks a token's signature and reads what it claims, which nobody has looked at yet.
    pub(super) fn open(&self, token: &str, algorithm: Algorithm) -> Result<Claims, AuthError> {
        let mut only_signature = Validation::new(algorithm);
        only_signature.required_spec_claims.clear();
        only_signature.validate_exp = false;
        only_signature.validate_nbf = false;
        only_signature.validate_aud = false;
        match jsonwebtoken::decode::<Claims>(token, &self.key, &only_signature) {
            Ok(token) => Ok(token.claims),
            Err(error) => Err(explain(error.kind())),
        }
    }
}

/// The label of the next PEM block, the block, and what follows it.
fn next_block(text: &str) -> Result<Option<(&str, &str, &str)>, String> {
    const BEGIN: &str = "-----BEGIN ";
    let Some(start) = text.find(BEGIN) else { return Ok(None) };
    let block = &text[start..];
    let label = block[BEGIN.len()..].split_once("-----").map(|(label, _)| label).unwrap_or_default();
    let end = format!("-----END {label}-----");
    let length = block.find(&end).ok_or("has a PEM block without its end")? + end.len();
    Ok(Some((label, &block[..length], &block[length..])))
}

fn one_of_pem(pem: &[u8]) -> Result<Key, String> {
    let of = |algorithms, key| Ok(Key { id: None, algorithms, key });
    if let Ok(key) = DecodingKey::from_ec_pem(pem) {
        return match key.try_get_as_bytes().map_or(0, <[u8]>::len) {
            P256_POINT_BYTES => of(P256, key),
            P384_POINT_BYTES => of(P384, key),
            _ => Err("holds a key of a curve that is neither P-256 nor P-384".to_owned()),
        };
    }
    if let Ok(key) = DecodingKey::from_ed_pem(pem) {
        return of(ED25519, key);
    }
    match DecodingKey::from_rsa_pem(pem) {
        Ok(key) if is_strong(&key) => of(RSA, key),
        Ok(_) => Err("holds an RSA key of less than 2048 bits".to_owned()),
        Err(_) => Err("holds a key that is neither RSA, P-256, P-384 nor Ed25519".to_owned()),
    }
}

/// By its modulus, or by the DER that holds modulus and exponent and is a few bytes longer.
fn is_strong(key: &DecodingKey) -> bool {
    use jsonwebtoken::DecodingKeyKind;
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => {
            n.iter().skip_while(|byte| **byte == 0).count() >= RSA_MODULUS_MIN_BYTES
        }
        DecodingKeyKind::SecretOrDer(der) => der.len() > RSA_MODULUS_MIN_BYTES,
    }
}
