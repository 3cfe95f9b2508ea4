//! What the application says of who connects, beside the token or instead of one: held to the same bounds as a token.

use super::claims::{MAX_USER_BYTES, grants, info, roles};
use super::{AuthError, Identity};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Each field that is there takes the place of what the token says; what is not there stays.
#[derive(Debug, Default)]
pub struct Amendment {
    /// Who an anonymous connection is. Of one with a token it can only repeat the name.
    pub user: Option<String>,
    /// As in a token.
    pub info: Option<Box<RawValue>>,
    /// As in a token.
    pub roles: Option<Vec<String>>,
    /// As in a token; together with `channels` in place of both.
    pub caps: Option<BTreeMap<String, Vec<String>>>,
    /// As in a token.
    pub channels: Option<Vec<String>>,
    /// For how many seconds this holds; a token that ends before ends all the same.
    pub expires_in_s: Option<u64>,
}

impl Amendment {
    fn is_empty(&self) -> bool {
        let Self { user, info, roles, caps, channels, expires_in_s } = self;
        user.is_none()
            && info.is_none()
            && roles.is_none()
            && caps.is_none()
            && channels.is_none()
            && expires_in_s.is_none()
    }

    /// Who that makes of somebody.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn apply(self, identity: Option<Identity>, now: SystemTime) -> Result<Option<Identity>, &'static str> {
        if self.is_empty() {
            return Ok(identity);
        }
        let user = self.user.filter(|user| !user.is_empty());
        let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut identity = match (identity, user) {
            (None, None) => return Err("what is said of somebody needs a `user`"),
            (None, Some(user)) if user.len() > MAX_USER_BYTES => return Err("`user` is 1 to 255 bytes long"),
            (None, Some(user)) => {
                let (roles, grants) = Default::default();
                let (info, expires_at, token_id) = (None, None, None);
                // It is said now, and so is newer than what was revoked before.
                let issued_at = Some(now_s);
                Identity { user: user.into(), info, expires_at, roles, grants, token_id, issued_at }
            }
            (Some(identity), Some(user)) if *identity.user != *user => return Err("`user` is not that of the token"),
            (Some(identity), _) => identity,
        };
        let wrong = |_: AuthError| "`info`, `roles`, `caps` or `channels` is not as in a token";
        if self.info.is_some() {
            identity.info = info(self.info).map_err(wrong)?;
        }
        if let Some(named) = self.roles {
            identity.roles = roles(named).map_err(wrong)?;
        }
        if self.caps.is_some() || self.channels.is_some() {
            identity.grants =
                grants(self.caps.unwrap_or_default(), self.channels.unwrap_or_default()).map_err(wrong)?;
        }
        if let Some(seconds) = self.expires_in_s {
            if seconds == 0 {
                return Err("`expires_in` is longer than nothing");
            }
            let end = now_s.saturating_add(seconds);
            identity.expires_at = Some(identity.expires_at.map_or(end, |token| token.min(end)));
        }
        Ok(Some(identity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Action;
    use std::time::Duration;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1000)
    }

    fn ann() -> Identity {
        let grants = grants(BTreeMap::new(), vec!["news".to_owned()]).unwrap();
        let (info, roles) = (Some("1".into()), ["staff".into()].into());
        Identity { user: "ann".into(), info, expires_at: Some(2000), roles, grants, token_id: None, issued_at: Some(1) }
    }

    fn raw(json: &str) -> Option<Box<RawValue>> {
        Some(RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn nothing_said_changes_nobody() {
        assert_eq!(Amendment::default().apply(None, now()), Ok(None));
        assert_eq!(Amendment::default().apply(Some(ann()), now()), Ok(Some(ann())));
    }

    #[test]
    fn an_anonymous_connection_is_who_the_application_says() {
        let said = Amendment {
            user: Some("bob".to_owned()),
            info: raw("{\"n\":2}"),
            channels: Some(vec!["lobby".to_owned()]),
            expires_in_s: Some(60),
            ..Amendment::default()
        };
        let bob = said.apply(None, now()).unwrap().unwrap();
        assert_eq!((&*bob.user, bob.info.as_deref(), bob.expires_at), ("bob", Some("{\"n\":2}"), Some(1060)));
        assert!(bob.is_granted(Action::Subscribe, "lobby") && bob.roles.is_empty());
        assert_eq!(bob.issued_at, Some(1000), "newer than what was revoked before");
    }

    #[test]
    fn of_a_token_what_is_named_is_replaced_but_never_the_user_and_its_end_only_comes_nearer() {
        let said = Amendment {
            user: Some("ann".to_owned()),
            roles: Some(Vec::new()),
            caps: Some([("chat:*".to_owned(), vec!["publish".to_owned()])].into()),
            expires_in_s: Some(5000),
            ..Amendment::default()
        };
        let narrowed = said.apply(Some(ann()), now()).unwrap().unwrap();
        assert_eq!((narrowed.roles.len(), narrowed.info.as_deref(), narrowed.expires_at), (0, Some("1"), Some(2000)));
        assert!(narrowed.is_granted(Action::Publish, "chat:1") && !narrowed.is_granted(Action::Subscribe, "news"));
        let sooner = Amendment { expires_in_s: Some(7), ..Amendment::default() };
        assert_eq!(sooner.apply(Some(ann()), now()).unwrap().unwrap().expires_at, Some(1007));
    }

    #[test]
    fn what_could_be_no_token_is_refused() {
        let user = |user: &str| Amendment { user: Some(user.to_owned()), ..Amendment::default() };
        let none = || user("bob");
        for (said, identity) in [
            (user("bob"), Some(ann())),
            (user(&"x".repeat(256)), None),
            (user(""), None),
            (Amendment { roles: Some(Vec::new()), ..Amendment::default() }, None),
            (Amendment { expires_in_s: Some(0), ..none() }, None),
            (Amendment { roles: Some(vec![String::new()]), ..none() }, None),
            (Amendment { channels: Some(vec!["a b*".to_owned()]), ..none() }, None),
            (Amendment { info: raw(&format!("\"{}\"", "x".repeat(5000))), ..none() }, None),
        ] {
            assert!(said.apply(identity, now()).is_err());
        }
    }
}
