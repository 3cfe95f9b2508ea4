//! Configuration as its users meet it: layers, and faults that name the key and the fix.

use super::*;
use crate::outbox::Slow;
use crate::policy::Access;
use std::collections::HashMap;

fn environment(entries: &[(&str, &str)]) -> Option<HashMap<String, String>> {
    Some(entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let file = file(
        "listen = \"127.0.0.1:1\"\n[ping]\ninterval = \"1s\"\ntimeout = \"2s\"\n[limits]\nmax_message = \"1KiB\"\n",
    );
    let config = Config::load(&Sources {
        file: Some(file.path()),
        environment: environment(&[("GW_PING__INTERVAL", "3s"), ("GW_PING__TIMEOUT", "4s"), ("OTHER", "x")]),
        overrides: vec!["ping.timeout=5s".into()],
    })
    .expect("a configuration");
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.worker.ping_interval, Duration::from_secs(3));
    assert_eq!(config.worker.ping_timeout, Duration::from_secs(5));
    assert_eq!(config.worker.max_message_bytes, 1024);
}

#[test]
fn every_fault_is_told_at_once_with_its_key_and_a_fix() {
    let file = file("[[namespace]]\nsubscribe = \"everyone\"\nslow = \"fast\"\nhistroy = 1\n");
    let error = Config::load(&Sources {
        file: Some(file.path()),
        environment: environment(&[
            ("GW_LISTEN", "here"),
            ("GW_PING__INTERVAL", "soon"),
            ("GW_REDIS_URL", "redis://x"),
            ("GW_LIMITS__MESSAGES", "fast"),
        ]),
        overrides: vec!["nonsense".into()],
    })
    .expect_err("faults");
    let text = error.to_string();
    for part in [
        "listen (GW_LISTEN): `here`",
        "ping.interval (GW_PING__INTERVAL): `soon` is not a time",
        "redis_url (GW_REDIS_URL) is not a setting; did you mean redis.url (GW_REDIS__URL)?",
        "limits.messages (GW_LIMITS__MESSAGES): `fast` is not a rate",
        "--set nonsense: write key=value",
        "namespace 1: subscribe: `everyone`",
        "namespace 1: slow: `fast`: close, drop_oldest or latest",
        "namespace 1: histroy: is not a setting of a namespace",
        "namespace 1: pattern: is missing",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn anyone_may_connect_only_while_no_key_is_set() {
    assert!(Config::from_overrides(&[]).expect("defaults").auth.anonymous);
    assert!(!Config::from_overrides(&["auth.hmac_secret=s3cret"]).expect("a key").auth.anonymous);
    let both = Config::from_overrides(&["auth.hmac_secret=s3cret", "auth.anonymous=true"]).expect("both");
    assert!(both.auth.anonymous);
}

#[test]
fn a_secret_can_stand_in_a_file_and_is_never_printed() {
    let secret = file("s3cret-from-file\n");
    let path = format!("auth.hmac_secret_file={}", secret.path().display());
    let config = Config::from_overrides(&[&path, "redis.url=redis://:passw0rd@h"]).expect("a key");
    assert_eq!(config.auth.hmac_secret.as_deref(), Some("s3cret-from-file"));
    let shown: String = config.known.iter().map(|k| k.value.as_str()).collect();
    assert!(!format!("{config:?}").contains("passw0rd"));
    assert!(!shown.contains("s3cret-from-file") && !shown.contains("passw0rd"));
    assert!(!format!("{:?}", config.auth).contains("s3cret-from-file"), "nor in a debug line");
}

#[test]
fn a_secret_that_is_set_but_empty_opens_nothing() {
    for key in ["auth.hmac_secret=", "auth.hmac_secret_file=", "redis.url="] {
        let error = Config::from_overrides(&[key]).expect_err(key).to_string();
        assert!(error.contains("is set but empty"), "{key}: {error}");
    }
    let empty = file("\n");
    let path = format!("auth.hmac_secret_file={}", empty.path().display());
    assert!(Config::from_overrides(&[&path]).expect_err("an empty file").to_string().contains("is empty"));
    let only_previous = Config::from_overrides(&["auth.previous_hmac_secret=s3cret"]).expect("a key");
    assert!(!only_previous.auth.anonymous);
}

#[test]
fn values_that_would_stop_everything_are_faults() {
    let wrong = [
        "ping.timeout=0s",
        "ping.interval=0s",
        "outbox.bytes=0",
        "outbox.budget=0",
        "outbox.timeout=0s",
        "limits.max_message=0",
        "limits.messages=0/s",
    ];
    let error = Config::from_overrides(&wrong).expect_err("faults");
    assert_eq!(error.0.len(), wrong.len(), "{error}");
}

#[test]
fn namespaces_are_tried_in_order() {
    let file = file(
        "[[namespace]]\npattern = \"chat:*\"\npublish = \"authenticated\"\nhistory.size = 0\n\
         [[namespace]]\npattern = \"*\"\npresence = false\nhistory.size = 5\nhistory.ttl = \"1m\"\nslow = \"latest\"\n",
    );
    let config = Config::load(&Sources { file: Some(file.path()), environment: environment(&[]), overrides: vec![] })
        .expect("namespaces");
    let chat = config.policy.namespace("chat:lobby").expect("chat");
    assert_eq!((chat.publish, chat.history), (Access::Authenticated, None));
    let other = config.policy.namespace("news").expect("other");
    assert_eq!(other.history.map(|h| (h.size, h.ttl)), Some((5, Duration::from_secs(60))));
    assert!(!other.presence);
    assert_eq!((chat.slow, other.slow), (Slow::Close, Slow::Latest));
}

#[test]
fn what_a_state_holds_is_a_matter_of_its_namespace() {
    let load = |text: &str| {
        let file = file(text);
        Config::load(&Sources { file: Some(file.path()), environment: environment(&[]), overrides: vec![] })
    };
    let config = load(
        "[[namespace]]\npattern = \"cursor:*\"\nstate.keys = 5\nstate.bytes = \"4KiB\"\nstate.ttl = \"1m\"\n\
         [[namespace]]\npattern = \"none:*\"\nstate.keys = 0\n[[namespace]]\npattern = \"*\"\n",
    )
    .expect("namespaces");
    let of = |channel| {
        let state = config.policy.namespace(channel).and_then(|n| n.history).expect("history").state;
        (state.keys, state.bytes, state.ttl.as_secs())
    };
    assert_eq!((of("cursor:1"), of("none:1"), of("a")), ((5, 4096, 60), (0, 262_144, 86_400), (1000, 262_144, 86_400)));
    let error = load(
        "[[namespace]]\npattern = \"a\"\nhistory.size = 0\nstate.keys = 1\n\
         [[namespace]]\npattern = \"b\"\nstate.ttl = \"0s\"\nstate.key = 1\n",
    );
    let error = error.expect_err("faults").to_string();
    for part in ["namespace 1: state: needs history", "namespace 2: state.ttl: is not zero", "namespace 2: state.key: "]
    {
        assert!(error.contains(part), "{part:?} is not in:\n{error}");
    }
}

#[test]
fn sentinels_are_asked_only_where_the_mode_says_so() {
    let sentinels = "redis.url=redis://:passw0rd@s1,s2:26380,s3/2";
    let of = |overrides: &[&str]| Config::from_overrides(overrides).expect("a configuration").redis.expect("a Redis");
    let redis = of(&["redis.mode=sentinel", sentinels]);
    assert_eq!(redis.sentinel.as_ref().expect("sentinels").master, "mymaster");
    let more = ["redis.sentinel.master=main", "redis.sentinel.username=ann", "redis.sentinel.password=s3cret"];
    let config = Config::from_overrides(&[&["redis.mode=sentinel", sentinels][..], &more].concat()).expect("more");
    let sentinel = config.redis.as_ref().and_then(|redis| redis.sentinel.as_ref()).expect("sentinels");
    assert_eq!((&*sentinel.master, sentinel.password.as_deref()), ("main", Some("s3cret")));
    let shown = config.known.iter().map(|k| k.value.as_str()).collect::<String>() + &format!("{config:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("passw0rd"));
    assert!(of(&["redis.url=redis://h"]).sentinel.is_none());
    assert!(of(&["redis.url=redis://:a,b@h"]).sentinel.is_none(), "one address, with a comma in its password");
}

#[test]
fn what_cannot_be_a_way_to_redis_is_a_fault_that_shows_no_password() {
    for (overrides, part) in [
        (
            &["redis.mode=cluster", "redis.url=redis://h"][..],
            "redis.mode (GW_REDIS__MODE): `cluster`: Redis Cluster is not",
        ),
        (&["redis.mode=sentry"], "redis.mode (GW_REDIS__MODE): `sentry`"),
        (&["redis.mode=sentinel"], "needs the addresses of the sentinels in redis.url"),
        (&["redis.mode=sentinel", "redis.url=redis://:s3cret@s1,http://s2"], "redis.url (GW_REDIS__URL): address 2"),
        (&["redis.mode=sentinel", "redis.url=s1", "redis.sentinel.master="], "redis.sentinel.master"),
        (&["redis.url=redis://:s3cret@"], "redis.url (GW_REDIS__URL): "),
        (&["redis.url=redis://:s3cret@h/x"], "redis.url (GW_REDIS__URL): "),
    ] {
        let error = Config::from_overrides(overrides).expect_err(part).to_string();
        assert!(error.contains(part) && !error.contains("s3cret"), "{part:?} is not in:\n{error}");
    }
}

#[test]
fn what_is_to_check_tokens_closes_the_door_or_is_a_fault() {
    let key = concat!("auth.public_key_file=", env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa.pub.pem");
    for closing in [key, "auth.jwks_url=https://issuer.example/keys", "auth.jwks_url=http://127.0.0.1:1/"] {
        assert!(!Config::from_overrides(&[closing]).expect(closing).auth.anonymous, "{closing}");
    }
    let private = concat!("auth.public_key_file=", env!("CARGO_MANIFEST_DIR"), "/tests/keys/rsa.pem");
    let url = "auth.jwks_url=https://issuer.example/";
    for (overrides, part) in [
        (&["auth.public_key_file="][..], "is set but empty"),
        (&["auth.jwks_url="], "is set but empty"),
        (&["auth.public_key_file=/nowhere"], "auth.public_key_file (GW_AUTH__PUBLIC_KEY_FILE): cannot read /nowhere"),
        (&[private], "holds a PRIVATE KEY"),
        (&["auth.jwks_url=http://issuer.example/"], "auth.jwks_url (GW_AUTH__JWKS_URL): is plain http"),
        (&["auth.jwks_url=https://ann:s3cret@issuer.example/"], "holds a user or password"),
        (&[url, "auth.jwks_ca_file=/nowhere"], "cannot read /nowhere"),
        (&[url, private.replace("public_key_file", "jwks_ca_file").as_str()], "hold no certificate"),
        (&[url, "auth.jwks_refresh=0s"], "must be longer than nothing"),
        (&[url, "auth.jwks_cooldown=0s"], "must be longer than nothing"),
        (&["send.access=everyone"], "send.access (GW_SEND__ACCESS): `everyone`"),
    ] {
        let error = Config::from_overrides(overrides).expect_err(part).to_string();
        assert!(error.contains(part) && !error.contains("s3cret"), "{part:?} is not in:\n{error}");
    }
    let insecure = ["auth.jwks_url=http://issuer.example/", "auth.jwks_insecure=true"];
    assert!(Config::from_overrides(&insecure).expect("allowed").auth.published.is_some());
}

#[test]
fn rules_of_a_namespace_are_read_as_they_are_printed() {
    let load = |text: &str| {
        let file = file(text);
        Config::load(&Sources { file: Some(file.path()), environment: environment(&[]), overrides: vec![] })
    };
    let config = load(
        "[[namespace]]\npattern = \"user:{user}:*\"\nsubscribe = \"granted\"\nread_history = \"nobody\"\n\
         roles.Staff = [\"publish\", \"history\"]\nroles.\"the boss\" = [\"*\"]\nevents = [\"a\", \"b\"]\n\
         [[namespace]]\npattern = \"all\"\nroles = [\"staff\"]\n",
    )
    .expect("namespaces");
    let printed: String = config.policy.namespaces().iter().map(|n| format!("{n}\n")).collect();
    for line in [
        "pattern = \"user:{user}:*\"",
        "read_presence = \"granted\"",
        "read_history = \"nobody\"",
        "roles.\"Staff\" = [\"publish\", \"history\"]",
        "roles.\"the boss\" = [\"subscribe\", \"publish\", \"presence\", \"history\", \"send\"]",
        "events = [\"a\", \"b\"]",
    ] {
        assert!(printed.contains(line), "{line} is not in:\n{printed}");
    }
    let again = load(&printed).expect("what was printed");
    assert_eq!(again.policy.namespaces().iter().map(|n| format!("{n}\n")).collect::<String>(), printed);
    let wrong = "[[namespace]]\npattern = \"{user}\"\nroles = \"staff\"\nevents = \"a\"\nread_history = \"me\"\n\
                 schema = \"/nowhere\"\nschemas.move = \"/nowhere\"\n\
                 [[namespace]]\npattern = \"a\"\nroles.staff = [\"fly\"]\n";
    let error = load(wrong).expect_err("faults").to_string();
    for part in [
        "namespace 1: pattern: `{user}`",
        "namespace 1: roles: is a list",
        "namespace 1: events: is a list",
        "namespace 1: read_history: `me`",
        "namespace 1: schema: cannot read /nowhere",
        "namespace 1: schemas.move: cannot read /nowhere",
        "namespace 2: roles.staff: `fly`",
    ] {
        assert!(error.contains(part), "{part:?} is not in:\n{error}");
    }
}

#[test]
fn what_belongs_to_the_edge_is_told_where_a_half_of_it_is_missing() {
    let fault = |overrides: &[&str]| Config::from_overrides(overrides).expect_err("a fault").to_string();
    assert!(fault(&["tls.cert=/cert.pem"]).contains("tls.key (GW_TLS__KEY)"));
    assert!(fault(&["tls.key=/key.pem"]).contains("tls.cert (GW_TLS__CERT)"));
    let missing = fault(&["tls.cert=/nowhere/cert.pem", "tls.key=/nowhere/key.pem"]);
    assert!(missing.contains("tls.cert (GW_TLS__CERT): cannot read /nowhere/cert.pem"), "{missing}");
    assert!(fault(&["proxy_protocol=true"]).contains("trusted_proxies"));
    let ca = concat!("redis.tls.ca_file=", env!("CARGO_MANIFEST_DIR"), "/tests/keys/ca.pem");
    assert!(fault(&["redis.url=redis://localhost", ca]).contains("rediss://"));
    assert!(Config::from_overrides(&["redis.url=rediss://localhost", ca]).is_ok());
    let insecure = fault(&["redis.url=rediss://:s3cret@localhost/#insecure"]);
    assert!(insecure.contains("redis.tls.ca_file") && !insecure.contains("s3cret"), "{insecure}");
}

#[test]
fn a_namespace_says_how_fast_may_be_published_in_it() {
    let file = file(
        "[[namespace]]\npattern = \"room:*\"\nrate = \"5/s burst 10\"\nrates.Typing = \"2/s\"\nrates.\"a.b\" = \"1/m\"\n\
         rate_scope = \"cluster\"\n[[namespace]]\npattern = \"*\"\n",
    );
    let config = Config::load(&Sources { file: Some(file.path()), environment: environment(&[]), overrides: vec![] })
        .expect("namespaces");
    let namespace = config.policy.namespace("room:1").expect("a namespace");
    let name = |event| namespace.rules.of(event).map(|rule| (rule.name.as_str(), rule.rate.to_string()));
    assert_eq!(name(None), Some(("room:* ", "5/s burst 10".to_owned())));
    assert_eq!(name(Some("Typing")), Some(("room:* Typing", "2/s burst 2".to_owned())));
    assert_eq!(name(Some("a.b")).map(|(name, _)| name), Some("room:* a.b"));
    assert!(namespace.rules.needs_cluster());
    let ids: std::collections::HashSet<_> =
        [None, Some("Typing"), Some("a.b")].map(|event| namespace.rules.of(event).expect("a rule").id).into();
    assert_eq!(ids.len(), 3);
    for line in ["rate = \"5/s burst 10\"", "rates.\"Typing\" = \"2/s burst 2\"", "rate_scope = \"cluster\""] {
        assert!(namespace.to_string().contains(line), "{line} is missing in {namespace}");
    }
    let open = config.policy.namespace("other").expect("a namespace");
    assert!(open.rules.of(Some("Typing")).is_none() && !open.rules.needs_cluster());
}

#[test]
fn rates_that_cannot_be_are_told() {
    let file = file(
        "[[namespace]]\npattern = \"a\"\nevents = [\"message\"]\nrates.typing = \"2/s\"\nrate = \"fast\"\n\
         [[namespace]]\npattern = \"b\"\nrate_scope = \"cluster\"\n[[namespace]]\npattern = \"c\"\nrate_scope = \"world\"\n",
    );
    let sources = Sources {
        file: Some(file.path()),
        environment: environment(&[]),
        overrides: vec!["limits.handshakes_per_address=0".into(), "limits.connections_per_user=0".into()],
    };
    let text = Config::load(&sources).expect_err("faults").to_string();
    for part in [
        "namespace 1: rates.typing: is none of the `events`",
        "namespace 1: rate: `fast` is not a rate",
        "namespace 2: rate_scope: needs `rate` or `rates`",
        "namespace 3: rate_scope: `world`: connection or cluster",
        "limits.handshakes_per_address (GW_LIMITS__HANDSHAKES_PER_ADDRESS): `0` is not a rate",
        "limits.connections_per_user (GW_LIMITS__CONNECTIONS_PER_USER): `0` is not a number above 0",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[test]
fn the_flush_tick_is_a_short_time_or_auto_or_none() {
    let tick = |value: &str| {
        let config = Config::from_overrides(&[&format!("flush.tick={value}")]);
        config.map(|config| config.worker.flush_tick_max).map_err(|error| error.to_string())
    };
    assert_eq!(Config::from_overrides(&[]).map(|config| config.worker.flush_tick_max).ok(), tick("auto").ok());
    assert_eq!(tick("auto"), Ok(Duration::from_millis(10)));
    assert_eq!(["0", "0s", "4ms"].map(tick), [0, 0, 4].map(|ms| Ok(Duration::from_millis(ms))));
    assert!(tick("1s").is_err_and(|fault| fault.contains("flush.tick (GW_FLUSH__TICK): `1s`: at most 100ms")));
    assert!(tick("soon").is_err_and(|fault| fault.contains("auto")));
}
