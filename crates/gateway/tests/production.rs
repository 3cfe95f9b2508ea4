//! The production check as an operator meets it: a list to read, an exit code for scripts, and a node that does not start.

mod process;

use process::{Gateway, command};

const FIT: &[(&str, &str)] = &[
    ("GW_PRODUCTION", "true"),
    ("GW_AUTH__HMAC_SECRET", "0123456789abcdef0123456789abcdef"),
    ("GW_ORIGINS", "https://app.example"),
    ("GW_SEND__ACCESS", "authenticated"),
];

fn file() -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    std::fs::write(file.path(), "[[namespace]]\npattern = \"*\"\npublish = \"authenticated\"\n").expect("written");
    file
}

fn said(output: &std::process::Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn the_defaults_hold_and_are_not_fit_for_production() {
    let (code, text) = said(&command(&[]).arg("check-config").output().expect("ran"));
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = said(&command(&[]).args(["check-config", "--production"]).output().expect("ran"));
    assert_eq!(code, Some(1), "{text}");
    for part in ["✗ auth.anonymous", "✗ origins", "✗ namespace.publish", "✗ send.access", "! redis.url", "→ "]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn what_is_fit_is_told_so_with_0() {
    let file = file();
    let checked = command(FIT).arg("check-config").arg("--config").arg(file.path()).output().expect("ran");
    let (code, text) = said(&checked);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("\n0 wrong (✗)") && text.contains("✓ origins"), "{text}");
}

#[test]
fn a_node_for_production_does_not_start_on_what_is_wrong() {
    let open = [("GW_PRODUCTION", "true"), ("GW_AUTH__HMAC_SECRET", "short"), ("GW_LISTEN", "127.0.0.1:0")];
    let (code, text) = said(&command(&open).output().expect("ran"));
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("does not start") && text.contains("✗ auth.hmac_secret"), "{text}");
    assert!(text.contains("0 good"), "what is good is no reason: {text}");
    assert!(!text.contains("ws://"), "nothing has been started: {text}");
}

#[test]
fn a_node_for_production_starts_on_what_is_fit() {
    let file = file();
    let mut serve = command(FIT);
    let gateway = Gateway::run(serve.arg("--config").arg(file.path()));
    gateway.signal("TERM");
    assert_eq!(gateway.end().0, Some(0));
}
