//! Who may do what where, by namespace, token, role and subscription.

use super::*;
use crate::grant::Grant;
use proptest::prelude::*;

fn person(user: &str, roles: &[&str], caps: &[(&str, &[&str])]) -> Identity {
    let grant = |(pattern, words): &(&str, &[&str])| Grant {
        pattern: pattern.parse().unwrap(),
        actions: Actions::of_words(words.iter().copied()).unwrap(),
    };
    Identity {
        token_id: None,
        issued_at: None,
        user: user.into(),
        info: None,
        expires_at: None,
        roles: roles.iter().map(|role| (*role).into()).collect(),
        grants: caps.iter().map(grant).collect(),
    }
}

fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

fn one(pattern: &str, access: Access) -> Policy {
    let rules = Namespace {
        pattern: pattern.parse().unwrap(),
        subscribe: access,
        publish: access,
        roles: vec![("staff".to_owned(), Actions::of_words(["publish"]).unwrap())],
        ..Namespace::default()
    };
    Policy::new(vec![rules, Namespace::default()], SendRules::default())
}

fn may(policy: &Policy, who: Option<&Identity>, action: Action, name: &str) -> bool {
    policy.allow(Who { identity: who, has_ticket: false }, action, &channel(name)).is_ok()
}

const IN_CHANNELS: [Action; 4] = [Action::Subscribe, Action::Publish, Action::Presence, Action::History];

#[test]
fn access_is_decided_by_namespace_and_identity() {
    let ann = person("ann", &[], &[]);
    for action in IN_CHANNELS {
        let by = |access, who| may(&one("chat:*", access), who, action, "chat:lobby");
        assert!(by(Access::Anyone, None) && by(Access::Authenticated, Some(&ann)));
        assert!(!by(Access::Authenticated, None));
        assert!(!by(Access::Granted, None) && !by(Access::Granted, Some(&ann)));
        assert!(!by(Access::Nobody, Some(&ann)));
    }
    let none = Policy::new(Vec::new(), SendRules::default());
    let code = none.allow(Who::default(), Action::Publish, &channel("a")).map(|_| ()).map_err(|r| r.code);
    assert_eq!(code, Err(ErrorCode::UnknownChannel));
}

#[test]
fn a_token_grants_its_actions_in_its_channels_and_no_more() {
    let granted = one("chat:*", Access::Granted);
    let ann = person("ann", &[], &[("chat:a*", &["subscribe", "publish"]), ("news", &["*"])]);
    assert!(may(&granted, Some(&ann), Action::Subscribe, "chat:a1"));
    assert!(may(&granted, Some(&ann), Action::Publish, "chat:a"));
    assert!(!may(&granted, Some(&ann), Action::History, "chat:a1"));
    assert!(!may(&granted, Some(&ann), Action::Subscribe, "chat:b"));
    let nobody = one("chat:*", Access::Nobody);
    assert!(!may(&nobody, Some(&person("ann", &["staff"], &[("*", &["*"])])), Action::Publish, "chat:a"));
}

#[test]
fn a_role_grants_what_the_namespace_says_of_it() {
    let granted = one("chat:*", Access::Granted);
    assert!(may(&granted, Some(&person("ann", &["guest", "staff"], &[])), Action::Publish, "chat:a"));
    assert!(!may(&granted, Some(&person("ann", &["staff"], &[])), Action::Subscribe, "chat:a"));
    assert!(!may(&granted, Some(&person("ann", &["Staff"], &[])), Action::Publish, "chat:a"));
}

#[test]
fn a_user_s_channel_is_closed_to_others_and_does_not_fall_to_an_open_namespace() {
    let (ann, bob) = (person("ann", &[], &[]), person("bob", &[], &[]));
    for access in [Access::Anyone, Access::Authenticated] {
        let policy = one("user:{user}", access);
        for action in IN_CHANNELS {
            assert!(may(&policy, Some(&ann), action, "user:ann"));
            assert!(!may(&policy, Some(&bob), action, "user:ann"));
            assert!(!may(&policy, None, action, "user:ann"));
        }
        let service = person("mail", &["staff"], &[("user:*", &["subscribe"])]);
        assert!(may(&policy, Some(&service), Action::Subscribe, "user:ann"));
        assert!(may(&policy, Some(&service), Action::Publish, "user:ann"), "by its role");
        assert!(!may(&policy, Some(&service), Action::History, "user:ann"));
    }
    let own = person("ann", &[], &[("user:{user}", &["subscribe"])]);
    let granted = one("user:{user}", Access::Granted);
    assert!(may(&granted, Some(&own), Action::Subscribe, "user:ann"));
    assert!(!may(&granted, Some(&own), Action::Subscribe, "user:bob"));
    assert!(!may(&granted, Some(&ann), Action::Subscribe, "user:ann"), "its owner needs a grant too");
}

#[test]
fn members_and_history_follow_subscribe_unless_something_else_is_said() {
    let rules =
        Namespace { read_presence: Some(Access::Granted), read_history: Some(Access::Nobody), ..Namespace::default() };
    let policy = Policy::new(vec![rules], SendRules::default());
    let ann = person("ann", &[], &[("*", &["presence", "history"])]);
    assert!(may(&policy, None, Action::Subscribe, "a"));
    assert!(!may(&policy, None, Action::Presence, "a") && may(&policy, Some(&ann), Action::Presence, "a"));
    assert!(!may(&policy, Some(&ann), Action::History, "a"));
}

#[test]
fn a_subscription_s_token_grants_where_grants_count() {
    let by_ticket = |access| {
        let who = Who { identity: None, has_ticket: true };
        one("chat:*", access).allow(who, Action::Subscribe, &channel("chat:a")).is_ok()
    };
    assert!(by_ticket(Access::Granted) && by_ticket(Access::Authenticated));
    assert!(!by_ticket(Access::Nobody));
}

#[test]
fn private_messages_have_rules_of_their_own() {
    let of = |access| Policy::new(Vec::new(), SendRules { access, roles: vec!["staff".into()] });
    let may = |access, who: Option<&Identity>| of(access).allow_send(who).is_ok();
    let (ann, staff) = (person("ann", &[], &[("chat:*", &["send"])]), person("bob", &["staff"], &[]));
    let service = person("mail", &[], &[("*", &["send"])]);
    assert!(may(Access::Anyone, None) && may(Access::Authenticated, Some(&ann)));
    assert!(!may(Access::Authenticated, None));
    assert!(may(Access::Granted, Some(&staff)) && may(Access::Granted, Some(&service)));
    assert!(!may(Access::Granted, Some(&ann)), "it is not a matter of channels");
    assert!(!may(Access::Nobody, Some(&service)));
}

#[test]
fn only_listed_events_are_taken() {
    let rules = Namespace { events: Some(vec!["message".into()]), ..Namespace::default() };
    assert!(rules.takes_event(Some("message")));
    assert!(!rules.takes_event(Some("messages")) && !rules.takes_event(None));
    assert!(Namespace::default().takes_event(None) && Namespace::default().takes_event(Some("any")));
}

fn access() -> impl Strategy<Value = Access> {
    prop_oneof![Just(Access::Anyone), Just(Access::Authenticated), Just(Access::Granted), Just(Access::Nobody)]
}

proptest! {
    #[test]
    fn a_token_never_allows_less_than_none_and_a_grant_never_less_than_a_token(
        access in access(), name in "(user:)?[ab:]{1,3}", cap in "[ab:]{0,2}\\*", action in 0usize..4
    ) {
        let policy = one("user:{user}", access);
        let action = IN_CHANNELS[action];
        let granted = person("a", &[], &[(&cap, &["*"])]);
        let none = may(&policy, None, action, &name);
        let plain = may(&policy, Some(&person("a", &[], &[])), action, &name);
        let more = may(&policy, Some(&granted), action, &name);
        prop_assert!(!none || plain);
        prop_assert!(!plain || more);
    }

    #[test]
    fn nobody_is_nobody(name in "user:[a-z]{1,3}", user in "[a-z]{1,3}") {
        let all = person(&user, &["staff"], &[("*", &["*"]), ("user:{user}", &["*"])]);
        let closed = one("user:{user}", Access::Nobody);
        for action in IN_CHANNELS {
            prop_assert!(!may(&closed, Some(&all), action, &name));
        }
    }
}
