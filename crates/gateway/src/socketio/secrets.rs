//! What nobody may forge: the names by which a client's state can be recovered.

use crate::node::Node;
use crate::polling::secret;
use broker::Note;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::time::Duration;
use tokio::time::sleep;

/// The note that holds the key of all nodes.
const KEY_NOTE: &str = "recovery-key";

/// How long the key outlives the last node.
const KEY_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often it is renewed, and how soon it is asked for again where it could not be had.
const RENEWAL: Duration = Duration::from_secs(3600);
const RETRY: Duration = Duration::from_secs(1);

/// What a recovery name says, signed: which sockets its owner may go on as. It stands by itself, so that nothing has to be
/// written for each connection and nothing read to know a forgery; what was missed is found by the client's offset.
#[derive(Serialize, Deserialize)]
struct Claims {
    sid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// The name by which the state of these sockets can be recovered, by this user.
pub fn pid(key: &str, sid: &str, user: Option<&str>) -> Option<String> {
    let claims = Claims { sid: sid.to_owned(), user: user.map(str::to_owned) };
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).ok()
}

/// The sockets that this user may go on as.
pub fn sid_of(key: &str, pid: &str, user: Option<&str>) -> Option<String> {
    let mut rules = Validation::new(Algorithm::HS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    let claims = jsonwebtoken::decode::<Claims>(pid, &DecodingKey::from_secret(key.as_bytes()), &rules).ok()?.claims;
    (claims.user.as_deref() == user).then_some(claims.sid)
}

/// Has the key that all nodes share, for ever: whichever node is first makes it.
pub async fn keep_key(node: &Node) {
    loop {
        let Some(chance) = secret() else { return };
        let mut own = String::with_capacity(32);
        for byte in chance {
            // Writing to a string cannot fail.
            let _ = write!(own, "{byte:02x}");
        }
        // Once had, a key stays for the life of the node: its clients have been given names by it.
        let text = node.recovery_key.get().cloned().unwrap_or(own);
        let shared = node.broker.note(KEY_NOTE, Note::First { text, ttl: KEY_TTL }).await;
        if let Ok(Some(key)) = shared {
            let _ = node.recovery_key.set(key);
            sleep(RENEWAL).await;
        } else {
            sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_name_is_of_one_user_and_cannot_be_made_up() {
        let name = pid("key", "n1.a.7", Some("ann")).unwrap();
        assert_eq!(sid_of("key", &name, Some("ann")).as_deref(), Some("n1.a.7"));
        assert_eq!(sid_of("key", &name, Some("bob")), None);
        assert_eq!(sid_of("key", &name, None), None);
        assert_eq!(sid_of("other", &name, Some("ann")), None);
        assert_eq!(sid_of("key", "n1.a.7", None), None);
    }
}
