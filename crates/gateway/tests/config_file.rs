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
