//! The annotated file in `deploy/` holds every setting with its default, as the binary itself prints it.

use std::path::Path;
use std::process::Command;

#[test]
fn the_annotated_file_is_what_print_config_says() {
    let printed = Command::new(env!("CARGO_BIN_EXE_gateway")).arg("print-config").env_clear().output().expect("ran");
    assert!(printed.status.success());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/gateway.toml");
    let file = std::fs::read_to_string(&path).expect("deploy/gateway.toml");
    let printed = String::from_utf8(printed.stdout).expect("text");
    assert_eq!(file, printed, "write it anew: env -i target/debug/gateway print-config > deploy/gateway.toml");
}

#[test]
fn the_annotated_file_can_be_used_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/gateway.toml");
    let checked = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["check-config", "--config"])
        .arg(path)
        .env_clear()
        .output()
        .expect("ran");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn what_print_config_says_of_a_configuration_is_that_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let (first, second) = (directory.path().join("first.toml"), directory.path().join("second.toml"));
    std::fs::write(
        &first,
        "ping.interval = \"7s\"\n[[namespace]]\npattern = \"a:*\"\nhistory.size = 0\npublish = \"nobody\"\n",
    )
    .expect("written");
    let print = |path: &Path| {
        let mut gateway = Command::new(env!("CARGO_BIN_EXE_gateway"));
        let printed = gateway.arg("print-config").arg("--config").arg(path).env_clear().output().expect("ran");
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        String::from_utf8(printed.stdout).expect("text")
    };
    let printed = print(&first);
    assert!(printed.contains("ping.interval = \"7s\"") && printed.contains("pattern = \"a:*\""));
    std::fs::write(&second, &printed).expect("written");
    assert_eq!(print(&second), printed);
}
