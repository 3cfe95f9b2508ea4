//! A storm of handshakes: clients that all come at once, and come back when they are told to, until it is over.

use super::open::{Wanted, knock, read_head};
use crate::Fault;
use crate::speed::tokens;
use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many knock before the first is answered.
const TOGETHER: usize = 256;

/// How long those who have not been let in are waited for when it is to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The storm leaves the processor to the generator whose delays are measured.
const NICE: i32 = 19;

/// A storm that blows on a thread of its own.
pub(crate) struct Storm {
    thread: std::thread::JoinHandle<Result<Weather, String>>,
    is_over: Arc<AtomicBool>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Weather {
    /// Handshakes that were taken.
    pub(crate) taken: u64,
    /// Handshakes that were told to come later.
    pub(crate) refused: u64,
    /// How long it blew.
    pub(crate) seconds: f64,
}

/// Who comes, and when again.
struct Clients {
    wanted: Vec<Wanted>,
    /// When the one of this number may come.
    due: VecDeque<(Instant, usize)>,
    /// Those who are in; the first goes when the last of all has come in.
    inside: VecDeque<(usize, TcpStream)>,
    weather: Weather,
}

impl Storm {
    /// So many clients come on this core, each with a token of its own. When all are in, the first goes and comes again.
    pub(crate) fn begin(url: &str, clients: usize, core: usize) -> Result<Self, Fault> {
        let wanted = (0..clients).map(|number| {
            let token = Some(tokens::of(&format!("storm-{number}"))?);
            Ok(Wanted { url: url.to_owned(), channel: None, token })
        });
        let wanted: Vec<Wanted> = wanted.collect::<Result<_, Fault>>()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let blow = move || {
            // As good as it can: the figure is of the gateway.
            let _ = rustix::process::nice(NICE);
            Clients::new(wanted).come(&ends).map_err(|fault| fault.to_string())
        };
        let thread = crate::speed::pin::on(&[core], || std::thread::Builder::new().spawn(blow))??;
        Ok(Self { thread, is_over })
    }

    /// Ends it, when each client has been let in.
    pub(crate) fn end(self) -> Result<Weather, Fault> {
        self.is_over.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| "the storm has panicked")??)
    }
}

impl Clients {
    fn new(wanted: Vec<Wanted>) -> Self {
        let now = Instant::now();
        let due = (0..wanted.len()).map(|number| (now, number)).collect();
        Self { wanted, due, inside: VecDeque::new(), weather: Weather::default() }
    }

    fn come(mut self, is_over: &AtomicBool) -> Result<Weather, Fault> {
        let (began, all) = (Instant::now(), self.wanted.len() as u64);
        while !is_over.load(Ordering::Relaxed) || self.weather.taken < all && began.elapsed() < PATIENCE {
            let mut knocking = Vec::new();
            while knocking.len() < TOGETHER && self.due.front().is_some_and(|(when, _)| *when <= Instant::now()) {
                let Some((_, number)) = self.due.pop_front() else { break };
                knocking.push((number, knock(&self.wanted[number])?));
            }
            if knocking.is_empty() {
                self.rest();
            }
            for (number, stream) in knocking {
                self.answered(number, stream)?;
            }
        }
        Ok(Weather { seconds: began.elapsed().as_secs_f64(), ..self.weather })
    }

    /// Nobody is to come now: when nobody is to come at all, the first to come was the first to go.
    fn rest(&mut self) {
        match self.inside.pop_front() {
            Some((number, _)) if self.due.is_empty() => self.due.push_back((Instant::now(), number)),
            Some(first) => {
                self.inside.push_front(first);
                std::thread::sleep(Duration::from_millis(1));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    fn answered(&mut self, number: usize, mut stream: TcpStream) -> Result<(), Fault> {
        let (head, _) = read_head(&mut stream)?;
        match head.split(' ').nth(1) {
            Some("101") => {
                self.weather.taken += 1;
                self.inside.push_back((number, stream));
            }
            Some("503" | "429") => {
                self.weather.refused += 1;
                let when = Instant::now() + retry_after(&head);
                let place = self.due.partition_point(|(other, _)| *other <= when);
                self.due.insert(place, (when, number));
            }
            _ => return Err(format!("a handshake is answered {}", head.lines().next().unwrap_or_default()).into()),
        }
        Ok(())
    }
}

/// What the answer says of when to come again.
fn retry_after(head: &str) -> Duration {
    let line = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("retry-after:").map(str::to_owned));
    let seconds = line.and_then(|line| line.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_back_when_it_is_told_to() {
        assert_eq!(retry_after("HTTP/1.1 503 X\r\nRetry-After: 7\r\n"), Duration::from_secs(7));
        assert_eq!(retry_after("HTTP/1.1 503 X\r\n"), Duration::from_secs(1));
    }
}
