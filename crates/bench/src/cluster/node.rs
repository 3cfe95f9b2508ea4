//! One gateway as a process of its own.

use crate::Fault;
use crate::cluster::admin::{self, Answer};
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How often a node is asked for what it does not tell by itself.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// A node: its settings, and its process while it has one.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    binary: PathBuf,
    config: PathBuf,
    environment: Vec<(String, String)>,
    public: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    files_max: Option<u32>,
    child: Option<Child>,
}

impl Node {
    /// A node that has yet to be started. Its log is beside the file of its configuration.
    pub(crate) fn new(
        name: String,
        binary: &Path,
        config: &Path,
        mut environment: Vec<(String, String)>,
    ) -> Result<Self, Fault> {
        let (public, admin) = (free_address()?, free_address()?);
        let mut set = |key: &str, value: String| environment.push((key.to_owned(), value));
        set("GW_NODE__ID", name.clone());
        set("GW_LISTEN", public.to_string());
        set("GW_ADMIN__LISTEN", admin.to_string());
        let log = config.with_file_name(format!("{name}.log"));
        let (binary, config) = (binary.to_owned(), config.to_owned());
        Ok(Self { name, binary, config, environment, public, admin, log, files_max: None, child: None })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its public port.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public
    }

    /// How many files the process may have open, from its next start on.
    pub(crate) fn limit_files(&mut self, most: Option<u32>) {
        self.files_max = most;
    }

    /// Whether it has a process.
    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Starts the process, which keeps its ports over restarts.
    pub(crate) fn start(&mut self) -> Result<(), Fault> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = match self.files_max {
            None => Command::new(&self.binary),
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(format!("ulimit -n {most}; exec \"$0\" \"$@\"")).arg(&self.binary);
                shell
            }
        };
        let child = command
            .arg("--config")
            .arg(&self.config)
            .env_clear()
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Fault> {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| format!("{} does not run", self.name))?;
        Ok(kill_process(id, signal)?)
    }

    /// Waits for the end of the process; true if it ended well.
    pub(crate) async fn ended(&mut self, within: Duration) -> Result<bool, Fault> {
        let Some(child) = &mut self.child else { return Err(format!("{} does not run", self.name).into()) };
        let status = timeout(within, child.wait()).await;
        let status = status.map_err(|_| format!("{} has not ended after {within:?}", self.name))??;
        self.child = None;
        Ok(status.success())
    }

    /// Kills the process as `kill -9` does.
    pub(crate) async fn kill(&mut self) -> Result<(), Fault> {
        self.signal(Signal::KILL)?;
        self.ended(Duration::from_secs(5)).await.map(|_| ())
    }

    /// What its admin port answers to `GET`.
    pub(crate) async fn admin(&self, path: &str) -> Option<Answer> {
        admin::ask("GET", self.admin, path).await
    }

    /// Gives it an order on its admin port.
    pub(crate) async fn order(&self, path: &str) -> Result<(), Fault> {
        match admin::ask("POST", self.admin, path).await {
            Some(answer) if answer.status < 300 => Ok(()),
            other => Err(format!("{} does not take the order {path}: {other:?}", self.name).into()),
        }
    }

    /// The id of its process, while it has one.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// How long its process has used the processor.
    pub(crate) fn processor_time(&self) -> Result<Duration, Fault> {
        let id = self.child.as_ref().and_then(Child::id).ok_or_else(|| format!("{} does not run", self.name))?;
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; the name in field 2 may hold spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// A metric, summed over its labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64, Fault> {
        let answer = self.admin("/metrics").await.ok_or_else(|| format!("{} tells no metrics", self.name))?;
        Ok(admin::metric(&answer.body, name))
    }

    /// Waits until `/readyz` says that it takes traffic (200), or that it does not (503); returns what it says.
    pub(crate) async fn becomes(&mut self, ready: bool, within: Duration) -> Result<String, Fault> {
        let deadline = Instant::now() + within;
        let wanted = if ready { 200 } else { 503 };
        let mut last = None;
        while Instant::now() < deadline {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                return Err(format!("{} has ended ({status}); its log is {}", self.name, self.log.display()).into());
            }
            last = self.admin("/readyz").await;
            if let Some(answer) = last.as_ref().filter(|answer| answer.status == wanted) {
                return Ok(answer.body.trim().to_owned());
            }
            sleep(ASK_INTERVAL).await;
        }
        let said = last.map_or("nothing".to_owned(), |answer| format!("{} {}", answer.status, answer.body.trim()));
        Err(format!("/readyz of {} should say {wanted} within {within:?} and says {said}", self.name).into())
    }
}

/// The lowest port that is tried: those below belong to well-known services.
const PORT_FIRST: u16 = 10_000;

/// How many ports are tried.
const PORTS_TRIED: usize = 100;

/// An address that nobody listens on now, on a port that the system gives to no outgoing connection: of the thousands that
/// a scenario makes, one would sooner or later take it before the node does.
pub(crate) fn free_address() -> Result<SocketAddr, Fault> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let outgoing = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let ports = (0..PORTS_TRIED).filter(|_| outgoing > PORT_FIRST).map(|_| fastrand::u16(PORT_FIRST..outgoing));
    let free = ports.chain([0]).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    Ok(free.ok_or("no port is free on 127.0.0.1")?.local_addr()?)
}
