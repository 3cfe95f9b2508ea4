//! Real redis-servers for tests, and sentinels: on free ports of 127.0.0.1, stopped by their process ids.

mod answer;
mod failover;
mod fake;

pub use failover::Failover;
pub use fake::{FakeSentinel, Says};

use answer::Answer;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A redis-server of a test's own. Dropping it kills it and removes its files.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    /// A sentinel keeps what it knows in its configuration.
    is_sentinel: bool,
    directory: tempfile::TempDir,
}

/// A sentinel's configuration, in its directory.
const SENTINEL_CONFIG: &str = "sentinel.conf";

impl RedisServer {
    /// Starts a server that keeps nothing on disk.
    ///
    /// # Panics
    /// When there is no `redis-server` on the PATH: `scripts/test` installs it.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts a server that has written every command to disk before it answers.
    pub fn start_durable() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a server with these arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_any(arguments, None)
    }

    /// Starts a sentinel with these lines of configuration, one of which has it watch something.
    pub fn start_sentinel(config: &str) -> Self {
        Self::start_any(&["--sentinel"], Some(config))
    }

    fn start_any(arguments: &[&str], sentinel_config: Option<&str>) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        // Another process may take the port between our look and redis-server's bind: then try another one.
        for _ in 0..10 {
            let directory = tempfile::tempdir().expect("a directory for redis-server");
            if let Some(config) = sentinel_config {
                std::fs::write(directory.path().join(SENTINEL_CONFIG), config).expect("the sentinel's configuration");
            }
            let (arguments, is_sentinel) = (arguments.clone(), sentinel_config.is_some());
            let mut server = Self { child: None, port: free_port(), arguments, is_sentinel, directory };
            if server.start_again() {
                return server;
            }
        }
        panic!("no free port for redis-server");
    }

    /// The server's address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the server keeps its files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether it has been started and not been killed.
    fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Kills the server as a crash would; what it had on disk stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts the server on the same port, from what is on disk; true once it accepts connections.
    pub fn start_again(&mut self) -> bool {
        self.kill();
        let mut command = Command::new("redis-server");
        if self.is_sentinel {
            command.arg(self.directory.path().join(SENTINEL_CONFIG));
        }
        let ready_line = if self.is_sentinel { "+monitor master" } else { "Ready to accept connections" };
        let mut child = command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(self.directory.path())
            .args(["--logfile", "", "--daemonize", "no"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server on the PATH: scripts/test installs it");
        let log = child.stdout.take().expect("redis-server's log");
        let mut lines = BufReader::new(log).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains(ready_line));
        // The log is read to its end, or the server would block on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        self.child = Some(child);
        ready
    }

    /// Sends one command over a connection of its own and returns the answer's first line.
    pub fn command(&self, words: &[&str]) -> String {
        match self.ask(words) {
            Answer::Line(line) => line,
            Answer::Bulk(text) => format!("${}", text.len()),
            Answer::Nothing => "$-1".to_owned(),
            Answer::Many(answers) => format!("*{}", answers.len()),
        }
    }

    /// Sends one command and returns the texts and numbers of an answer that lists some.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        self.ask(words).many().into_iter().map(Answer::text).collect()
    }

    /// One field of INFO; empty if there is none, or if the server has just closed all connections, as it does when
    /// sentinels demote it.
    pub fn info(&self, section: &str, field: &str) -> String {
        let text = self.try_ask(&["INFO", section]).map(Answer::text).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    }

    fn ask(&self, words: &[&str]) -> Answer {
        self.try_ask(words).expect("an answer")
    }

    fn try_ask(&self, words: &[&str]) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(request.as_bytes())?;
        Answer::read(&mut BufReader::new(stream))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
