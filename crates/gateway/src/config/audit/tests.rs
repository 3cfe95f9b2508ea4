//! Each point, good and not; and the table of SECURITY.md.

use super::*;
use crate::config::settings::Sources;
use std::io::Write as _;

/// Settings that a public service may run with.
const FIT: &[&str] = &[
    "auth.hmac_secret=0123456789abcdef0123456789abcdef",
    "origins=https://app.example",
    "redis.url=redis://:s3cret@localhost",
    "listen=127.0.0.1:0",
    "limits.connections_per_address=200",
    "send.access=nobody",
];

fn findings(namespaces: &str, settings: &[&str]) -> Vec<Finding> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    file.write_all(namespaces.as_bytes()).expect("written");
    let overrides = FIT.iter().chain(settings).map(|setting| (*setting).to_owned()).collect();
    let sources = Sources { file: Some(file.path()), environment: Some([].into()), overrides };
    audit(&Config::load(&sources).unwrap_or_else(|error| panic!("{error}")))
}

/// The secret of the tokens is the API's key, too.
const SAME: &str = "auth.hmac_secret=d2c1d9a6f0b7e4835a1f66c0972b3ed8";

const NAMESPACE: &str = "[[namespace]]\npattern = \"*\"\nsubscribe = \"authenticated\"\npublish = \"granted\"\n";

/// The verdict on one point of a configuration that is otherwise fit.
fn verdict(key: &str, settings: &[&str]) -> Verdict {
    let all = findings(NAMESPACE, settings);
    let others: Vec<_> = all.iter().filter(|f| f.key != key && f.verdict == Verdict::Failure).collect();
    assert!(others.is_empty(), "{settings:?} changes more than {key}: {others:?}");
    let found: Vec<_> = all.iter().filter(|finding| finding.key == key).collect();
    assert_eq!(found.len(), 1, "{key}");
    assert_eq!(found[0].fix.is_empty(), found[0].verdict == Verdict::Good, "what is not good says what to do");
    found[0].verdict
}

#[test]
fn what_is_fit_has_nothing_but_good_points() {
    let findings = findings(NAMESPACE, &[]);
    let not_good: Vec<_> = findings.iter().filter(|finding| finding.verdict != Verdict::Good).collect();
    assert!(not_good.is_empty(), "{not_good:?}");
}

#[test]
fn every_point_is_found_where_it_is_wrong() {
    use Verdict::{Failure, Good, Warning};
    for (key, settings, expected) in [
        ("auth.anonymous", &["auth.anonymous=true"][..], Failure),
        ("auth.hmac_secret", &["auth.hmac_secret=0123456789abcdef0123456789abcde"], Failure),
        ("auth.previous_hmac_secret", &["auth.previous_hmac_secret=short"], Failure),
        ("auth.jwks_url", &["auth.jwks_url=http://issuer.example/", "auth.jwks_insecure=true"], Failure),
        ("auth.jwks_url", &["auth.jwks_url=https://issuer.example/"], Good),
        ("auth.jwks_url", &["auth.jwks_url=http://127.0.0.1:1/"], Good),
        ("auth.audience", &["auth.jwks_url=https://issuer.example/"], Warning),
        ("auth.audience", &["auth.jwks_url=https://issuer.example/", "auth.audience=chat"], Good),
        ("auth.require_expiry", &["auth.require_expiry=false"], Warning),
        ("auth.query", &["auth.query=true"], Failure),
        ("api.key", &["api.key=d2c1d9a6f0b7e4835a1f66c0972b3ed8"], Good),
        ("api.key", &["api.key=d2c1d9a6f0b7e4835a1f66c0972b3ed"], Failure),
        ("api.key", &["api.key=changeme8changeme8changeme8changeme8"], Failure),
        ("api.key", &["api.key=d2c1d9a6f0b7e4835a1f66c0972b3ed8", SAME], Failure),
        ("origins", &["origins="], Failure),
        ("origins", &["origins=*"], Failure),
        ("origins", &["origins=https://app.example,*"], Failure),
        ("listen", &["listen=0.0.0.0:8080"], Warning),
        ("trusted_proxies", &["trusted_proxies=0.0.0.0/0"], Failure),
        ("trusted_proxies", &["trusted_proxies=10.0.0.0/8,::/0"], Failure),
        ("trusted_proxies", &["trusted_proxies=10.0.0.0/8"], Good),
        ("admin.listen", &["admin.listen=0.0.0.0:9180"], Warning),
        ("admin.listen", &["admin.listen=[::]:9180"], Warning),
        ("admin.listen", &["admin.listen=10.1.2.3:9180"], Warning),
        ("admin.listen", &["admin.listen=203.0.113.1:9180"], Failure),
        ("admin.listen", &["admin.listen=[2001:db8::1]:9180"], Failure),
        ("redis.url (password)", &["redis.url=redis://localhost"], Good),
        ("redis.url (password)", &["redis.url=redis://redis", "redis.private_network=true"], Failure),
        ("redis.url (password)", &["redis.url=s1,s2", "redis.mode=sentinel", "redis.private_network=true"], Failure),
        ("redis.private_network", &["redis.url=redis://:s3cret@redis"], Failure),
        ("redis.private_network", &["redis.url=redis://:s3cret@redis", "redis.private_network=true"], Warning),
        ("redis.private_network", &["redis.url=unix:///run/redis.sock"], Good),
        ("limits.connections_per_address", &["limits.connections_per_address="], Warning),
        ("send.access", &["send.access=anyone"], Failure),
        ("send.access", &["send.access=granted"], Good),
        ("auth.anonymous", &["auth.anonymous=true", "hooks.connect.url=http://[::1]:1/"], Warning),
        (
            "auth.anonymous",
            &["auth.anonymous=true", "hooks.connect.url=http://[::1]:1/", "hooks.connect.on_failure=allow"],
            Failure,
        ),
        ("hooks (url)", &["hooks.connect.url=http://backend/"], Warning),
        ("hooks (url)", &["hooks.connect.url=https://backend/"], Good),
        ("hooks (url)", &["hooks.connect.url=http://127.0.0.1/"], Good),
        ("hooks.secret", &["hooks.connect.url=https://backend/"], Warning),
        ("hooks.secret", &["hooks.connect.url=https://backend/", "hooks.secret=s3cret"], Good),
        ("hooks.on_failure", &["hooks.connect.url=https://backend/", "hooks.on_failure=allow"], Warning),
        ("hooks.on_failure", &["hooks.connect.url=https://backend/"], Good),
        ("webhooks.url", &["webhooks.url=http://backend/"], Warning),
        ("webhooks.url", &["webhooks.url=https://backend/"], Good),
        ("webhooks.secret", &["webhooks.url=https://backend/"], Warning),
        ("webhooks.secret", &["webhooks.url=https://backend/", "webhooks.secret=s3cret"], Good),
    ] {
        assert_eq!(verdict(key, settings), expected, "{key} with {settings:?}");
    }
}

#[test]
fn without_any_key_nobody_could_connect_and_without_redis_the_node_is_alone() {
    let config = Config::from_overrides(&["auth.anonymous=false"]).expect("a configuration");
    let findings = audit(&config);
    let of = |key: &str| findings.iter().find(|finding| finding.key == key).expect("a finding").verdict;
    assert_eq!((of("auth.anonymous"), of("redis.url")), (Verdict::Failure, Verdict::Warning));
}

#[test]
fn keys_that_are_no_good_and_files_that_everybody_can_read_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "0123456789abcdefg").expect("written");
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o604)).expect("open to everybody");
    let tables = format!(
        "{NAMESPACE}[[api_key]]\nname = \"shop\"\nscopes = [\"read\"]\nkey_file = {:?}\n\
         [[api_key]]\nname = \"till\"\nscopes = [\"read\"]\nkey = \"d2c1d9a6f0b7e4835a1f66c0972b3ed8\"\n",
        file.path()
    );
    let findings = findings(&tables, &[]);
    let of = |key: &str| findings.iter().find(|finding| finding.key == key).expect("a finding");
    assert_eq!(of("api.key").says, "`shop` can be guessed: it repeats itself, or counts");
    assert_eq!(of("api.key_file").verdict, Verdict::Warning);
    assert!(of("api.key_file").says.contains(&file.path().display().to_string()), "{:?}", of("api.key_file"));
}

#[test]
fn open_namespaces_are_named() {
    let open = "[[namespace]]\npattern = \"news\"\npublish = \"nobody\"\n[[namespace]]\npattern = \"chat:*\"\n";
    let findings = findings(open, &[]);
    let of = |key: &str| findings.iter().find(|finding| finding.key == key).expect("a finding");
    assert_eq!(
        (of("namespace.publish").verdict, of("namespace.subscribe").verdict),
        (Verdict::Failure, Verdict::Warning)
    );
    assert_eq!(of("namespace.publish").says, "anyone may publish to `chat:*`");
    assert_eq!(of("namespace.subscribe").says, "anyone may subscribe to `news`, `chat:*`");
}

#[test]
fn the_list_is_for_people_and_holds_no_secret() {
    let text = checklist(&findings(NAMESPACE, &["auth.hmac_secret=s3cret", "redis.url=redis://:s3cret@redis"]));
    assert!(text.contains("  ✗ auth.hmac_secret "), "{text}");
    assert!(text.contains("→ at least 32 random bytes"), "{text}");
    assert!(text.ends_with("\n2 wrong (✗), 0 to think about (!), 23 good (✓)\n"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn the_table_in_security_md_has_every_point() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SECURITY.md");
    let text = std::fs::read_to_string(path).expect("SECURITY.md");
    let table = text.lines().skip_while(|line| !line.starts_with("| setting | production check |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let keys: Vec<_> = rows.filter_map(|row| row.split('|').nth(1)).map(|key| key.trim().replace('`', "")).collect();
    let points: Vec<_> = findings(NAMESPACE, &[]).iter().map(|finding| finding.key.to_owned()).collect();
    assert_eq!(keys, points);
}
