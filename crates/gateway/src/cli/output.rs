//! What commands say on stdout, which may be a pipe whose reader has seen enough: `gateway print-config | head`.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Writes a text and ends with this code. That nobody reads on is no fault; what else keeps it from being written is.
pub(crate) fn say(text: &str, code: ExitCode) -> ExitCode {
    match write(text) {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(error) => {
            complain(&format!("cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says a line of what goes on whether or not anybody reads it.
pub(crate) fn mention(line: &str) {
    let _ = write(&format!("{line}\n"));
}

/// Says on stderr what is wrong; the exit code says it to those who do not read it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
