//! A sentinel that says what a test wants it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// What it says, of whatever name it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Says {
    /// The primary is at this port of 127.0.0.1, since this epoch.
    Primary(u16, u64),
    /// As that, but only after a while.
    Late(u16, u64, Duration),
    /// It takes what it is asked, and does not answer.
    Nothing,
    /// It does not watch that name.
    Unwatched,
}

/// A sentinel that says what it is told to.
pub struct FakeSentinel {
    port: u16,
    says: Arc<Mutex<Says>>,
}

impl FakeSentinel {
    /// Starts one. Must be called within a tokio runtime, which it ends with.
    pub async fn start(says: Says) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let says = Arc::new(Mutex::new(says));
        let shared = says.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { port, says }
    }

    /// Its address, as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it says from now on.
    pub fn say(&self, says: Says) {
        *self.says.lock().expect("what it says") = says;
    }
}

async fn serve(stream: TcpStream, says: Arc<Mutex<Says>>) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = read_command(&mut stream).await {
        let says = *says.lock().expect("what it says");
        let answer = match says {
            Says::Nothing => continue,
            Says::Primary(port, epoch) => answer(&words, port, epoch),
            Says::Late(port, epoch, after) => {
                sleep(after).await;
                answer(&words, port, epoch)
            }
            Says::Unwatched if words[1] == "MASTER" => "-ERR No such master with that name\r\n".to_owned(),
            Says::Unwatched => "*-1\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn answer(words: &[String], port: u16, epoch: u64) -> String {
    let list: Vec<String> = match words[1].as_str() {
        "GET-MASTER-ADDR-BY-NAME" => vec!["127.0.0.1".into(), port.to_string()],
        _ => ["name", &words[2], "flags", "master", "config-epoch", &epoch.to_string()].map(String::from).into(),
    };
    let texts: String = list.iter().map(|text| format!("${}\r\n{text}\r\n", text.len())).collect();
    format!("*{}\r\n{texts}", list.len())
}

async fn read_command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = read_number(stream).await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; read_number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    Some(words)
}

async fn read_number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.get(1..)?.trim_end().parse().ok()
}
