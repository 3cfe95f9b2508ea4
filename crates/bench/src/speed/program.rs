//! A process that says `ready`, or answers one line: references and the generator.

use crate::Fault;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A process; dropping it ends it.
pub(crate) struct Program {
    child: Child,
    name: String,
}

impl Program {
    /// Starts it, on the cores that this thread is on.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> Result<Self, Fault> {
        let name = format!("{} {}", program.display(), arguments.join(" "));
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { child, name })
    }

    /// Its id.
    pub(crate) fn pid(&self) -> Result<u32, Fault> {
        Ok(self.child.id().ok_or_else(|| format!("{} has ended", self.name))?)
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn until_ready(mut self, within: Duration) -> Result<Self, Fault> {
        let stdout = self.child.stdout.take().ok_or("a process without output")?;
        let mut line = String::new();
        let read = timeout(within, BufReader::new(stdout).read_line(&mut line)).await;
        match read {
            Ok(Ok(_)) if line.trim() == "ready" => Ok(self),
            Ok(_) => Err(format!("{} is not ready: {line}", self.name).into()),
            Err(_) => Err(format!("{} is not ready within {within:?}", self.name).into()),
        }
    }

    /// Gives it its input, and waits for all that it answers.
    pub(crate) async fn answer(mut self, input: &str, within: Duration) -> Result<String, Fault> {
        let mut stdin = self.child.stdin.take().ok_or("a process without input")?;
        let mut stdout = self.child.stdout.take().ok_or("a process without output")?;
        let answering = async {
            stdin.write_all(input.as_bytes()).await?;
            drop(stdin);
            let mut answer = String::new();
            stdout.read_to_string(&mut answer).await?;
            let status = self.child.wait().await?;
            if status.success() { Ok(answer) } else { Err(Fault::from(format!("{} has ended: {status}", self.name))) }
        };
        timeout(within, answering).await.map_err(|_| format!("it has not ended within {within:?}"))?
    }
}
