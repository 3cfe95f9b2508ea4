//! The list of what is revoked, pure: entries of one target are joined, so that it does not matter in which order, or how
//! often, they come.

use crate::{Revocation, Shown, Target};
use std::collections::HashMap;

/// How long a revocation is remembered beyond its end, in milliseconds: the clocks of issuers, nodes and Redis differ, and
/// a token is taken for five seconds after its own end.
pub const LEEWAY_MS: u64 = 10_000;

/// What is known of one user.
#[derive(Debug, Default, Clone, Copy)]
struct OfUser {
    /// Until when all tokens are revoked; 0 if they are not.
    until_ms: u64,
    /// Before which moment those were issued that are.
    before: u64,
    /// And until when.
    before_until_ms: u64,
}

/// What is revoked.
#[derive(Debug, Default)]
pub struct List {
    tokens: HashMap<Box<str>, u64>,
    users: HashMap<Box<str>, OfUser>,
}

fn raise(value: &mut u64, to: u64) -> bool {
    let grows = to > *value;
    *value = to.max(*value);
    grows
}

impl List {
    /// Adds; false if that was known.
    pub fn join(&mut self, revocation: &Revocation) -> bool {
        let until_ms = revocation.until_ms;
        match &revocation.target {
            Target::Token(id) => raise(self.tokens.entry(id.as_str().into()).or_default(), until_ms),
            Target::User(user) => raise(&mut self.users.entry(user.as_str().into()).or_default().until_ms, until_ms),
            Target::UserBefore { user, issued_before } => {
                let of_user = self.users.entry(user.as_str().into()).or_default();
                let is_wider = raise(&mut of_user.before, *issued_before);
                raise(&mut of_user.before_until_ms, until_ms) || is_wider
            }
        }
    }

    /// Whether this would add nothing.
    pub fn covers(&self, revocation: &Revocation) -> bool {
        let until_ms = revocation.until_ms;
        match &revocation.target {
            Target::Token(id) => self.tokens.get(id.as_str()).is_some_and(|known| *known >= until_ms),
            Target::User(user) => self.users.get(user.as_str()).is_some_and(|known| known.until_ms >= until_ms),
            Target::UserBefore { user, issued_before } => self
                .users
                .get(user.as_str())
                .is_some_and(|known| known.before >= *issued_before && known.before_until_ms >= until_ms),
        }
    }

    /// Whether there is an entry of this target, however wide.
    pub(crate) fn has(&self, target: &Target) -> bool {
        let of_user = |user: &str| self.users.get(user).copied().unwrap_or_default();
        match target {
            Target::Token(id) => self.tokens.contains_key(id.as_str()),
            Target::User(user) => of_user(user).until_ms > 0,
            Target::UserBefore { user, .. } => of_user(user).before_until_ms > 0,
        }
    }

    /// Whether what a token shows is revoked.
    pub fn revokes(&self, shown: &Shown<'_>, now_ms: u64) -> bool {
        let holds = |until_ms: u64| lasts(until_ms, now_ms);
        if shown.token_id.and_then(|id| self.tokens.get(id)).is_some_and(|until_ms| holds(*until_ms)) {
            return true;
        }
        self.users.get(shown.user).is_some_and(|of_user| {
            let is_older = shown.issued_at.is_none_or(|issued_at| issued_at < of_user.before);
            holds(of_user.until_ms) || (holds(of_user.before_until_ms) && is_older)
        })
    }

    /// Forgets what has ended.
    pub fn drop_ended(&mut self, now_ms: u64) {
        self.tokens.retain(|_, until_ms| lasts(*until_ms, now_ms));
        self.users.retain(|_, of_user| {
            if !lasts(of_user.before_until_ms, now_ms) {
                (of_user.before, of_user.before_until_ms) = (0, 0);
            }
            if !lasts(of_user.until_ms, now_ms) {
                of_user.until_ms = 0;
            }
            of_user.until_ms > 0 || of_user.before_until_ms > 0
        });
    }

    /// Everything in it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Revocation> + '_ {
        let tokens = self
            .tokens
            .iter()
            .map(|(id, until_ms)| Revocation { target: Target::Token((&**id).into()), until_ms: *until_ms });
        let of_users = self.users.iter().flat_map(|(user, known)| {
            let all = (known.until_ms > 0)
                .then(|| Revocation { target: Target::User((&**user).into()), until_ms: known.until_ms });
            let older = (known.before_until_ms > 0).then(|| Revocation {
                target: Target::UserBefore { user: (&**user).into(), issued_before: known.before },
                until_ms: known.before_until_ms,
            });
            all.into_iter().chain(older)
        });
        tokens.chain(of_users)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let of_user = |known: &OfUser| usize::from(known.until_ms > 0) + usize::from(known.before_until_ms > 0);
        self.tokens.len() + self.users.values().map(of_user).sum::<usize>()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.users.is_empty()
    }

    /// So many, those that end first first; and how many there are.
    pub(crate) fn first(&self, max: usize) -> (Vec<Revocation>, usize) {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by(|a, b| (a.until_ms, &a.target).cmp(&(b.until_ms, &b.target)));
        let count = all.len();
        all.truncate(max);
        (all, count)
    }
}

/// Whether what is revoked until then still is.
pub(crate) fn lasts(until_ms: u64, now_ms: u64) -> bool {
    until_ms > 0 && until_ms.saturating_add(LEEWAY_MS) > now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, until_ms: u64) -> Revocation {
        Revocation { target: Target::Token(id.into()), until_ms }
    }

    fn before(user: &str, issued_before: u64, until_ms: u64) -> Revocation {
        Revocation { target: Target::UserBefore { user: user.into(), issued_before }, until_ms }
    }

    fn shown<'a>(user: &'a str, token_id: Option<&'a str>, issued_at: Option<u64>) -> Shown<'a> {
        Shown { user, token_id, issued_at }
    }

    const NOW: u64 = 1_000_000;

    #[test]
    fn a_token_is_revoked_by_its_id_its_user_or_its_age() {
        let mut list = List::default();
        list.join(&token("t1", NOW + 1));
        list.join(&Revocation { target: Target::User("bob".into()), until_ms: NOW + 1 });
        list.join(&before("cid", 500, NOW + 1));
        let revoked = |shown: Shown<'_>| list.revokes(&shown, NOW);
        assert!(revoked(shown("ann", Some("t1"), Some(1))) && !revoked(shown("ann", Some("t2"), Some(1))));
        assert!(!revoked(shown("ann", None, None)), "an id that a token does not have");
        assert!(revoked(shown("bob", None, Some(u64::MAX))));
        assert!(revoked(shown("cid", None, Some(499))) && !revoked(shown("cid", None, Some(500))));
        assert!(revoked(shown("cid", None, None)), "who does not say when counts as older");
        assert!(!revoked(shown("t1", None, None)), "a user called like a token");
    }

    #[test]
    fn entries_of_one_target_are_joined_whatever_their_order() {
        let entries = [before("ann", 10, 900), before("ann", 20, 500), token("t", 7), token("t", 9)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0]] {
            let mut list = List::default();
            for at in order {
                list.join(&entries[at]);
            }
            assert_eq!(list.first(9), (vec![token("t", 9), before("ann", 20, 900)], 2));
            assert!(entries.iter().all(|entry| list.covers(entry) && !list.join(entry)));
            assert!(
                !list.covers(&before("ann", 21, 1)) && !list.covers(&token("t", 10)) && !list.covers(&token("s", 1))
            );
        }
    }

    #[test]
    fn what_has_ended_counts_no_more_and_is_forgotten() {
        let mut list = List::default();
        let ended = NOW - LEEWAY_MS;
        for revocation in [token("old", ended), token("new", ended + 1), before("ann", 5, ended)] {
            list.join(&revocation);
        }
        list.join(&Revocation { target: Target::User("ann".into()), until_ms: ended + 1 });
        assert!(
            !list.revokes(&shown("x", Some("old"), None), NOW) && list.revokes(&shown("x", Some("new"), None), NOW)
        );
        list.drop_ended(NOW);
        assert_eq!(list.len(), 2);
        list.drop_ended(NOW + 1);
        assert!(list.is_empty());
    }
}
