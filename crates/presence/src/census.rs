//! Counts connections into users.

use protocol::{Member, Members, Text};
use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

/// Users and how many connections each has.
#[derive(Default)]
pub(crate) struct Census(HashMap<Text, Member>);

impl Census {
    /// Counts one connection. Which of a user's connections lends its `info` is not said.
    pub(crate) fn count(&mut self, user: Text, info: Option<Text>) {
        match self.0.entry(user) {
            Vacant(vacant) => {
                let member = Member { user: vacant.key().clone(), clients: 1, info };
                vacant.insert(member);
            }
            Occupied(mut member) => {
                let member = member.get_mut();
                member.clients += 1;
                member.info = member.info.take().or(info);
            }
        }
    }

    /// The list, by user, and its sums.
    pub(crate) fn into_members(self) -> Members {
        let mut list: Vec<Member> = self.0.into_values().collect();
        list.sort_unstable_by(|a, b| a.user.cmp(&b.user));
        let clients = list.iter().map(|member| member.clients).sum();
        Members { clients, users: list.len() as u64, list: Some(list) }
    }
}
