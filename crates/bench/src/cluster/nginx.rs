//! nginx in front of the nodes, as users run it: one address, any node.

use crate::Fault;
use rustix::process::{Pid, Signal, kill_process};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long nginx may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// A running nginx.
#[derive(Debug)]
pub(crate) struct Nginx {
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Nginx {
    /// Starts nginx in front of these, with its files in a folder of its own.
    pub(crate) async fn start(parent: &Path, upstreams: &[SocketAddr]) -> Result<Self, Fault> {
        let directory = parent.join("nginx");
        std::fs::create_dir_all(&directory)?;
        let address = super::node::free_address()?;
        let file = directory.join("nginx.conf");
        std::fs::write(&file, configuration(&directory, address, upstreams))?;
        let log = std::fs::File::create(parent.join("nginx.log"))?;
        let child = Command::new("nginx")
            .args([Path::new("-e"), Path::new("stderr"), Path::new("-p"), &directory, Path::new("-c"), &file])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("nginx cannot be started: {error} (Debian: apt-get install nginx-light)"))?;
        let nginx = Self { directory, address, child };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).await.is_err() {
            if Instant::now() > deadline {
                return Err("nginx does not listen".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(nginx)
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections go to these from now on; those that stand stay.
    pub(crate) fn lead_to(&self, upstreams: &[SocketAddr]) -> Result<(), Fault> {
        std::fs::write(self.directory.join("nginx.conf"), configuration(&self.directory, self.address, upstreams))?;
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or("nginx does not run")?;
        Ok(kill_process(id, Signal::HUP)?)
    }
}

impl Drop for Nginx {
    /// Its workers end with an orderly end of their master, not with a kill.
    fn drop(&mut self) {
        if let Some(id) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // Ended already is as good.
            let _ = kill_process(id, Signal::TERM);
            let deadline = std::time::Instant::now() + Duration::from_secs(2);
            while matches!(self.child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
        }
    }
}

fn configuration(directory: &Path, address: SocketAddr, upstreams: &[SocketAddr]) -> String {
    let directory = directory.display();
    let servers: String = upstreams.iter().map(|upstream| format!("server {upstream} max_fails=0; ")).collect();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|what| format!("{what}_temp_path {directory}/{what}; "))
        .collect();
    format!(
        "daemon off; pid {directory}/pid; worker_processes 1;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; {temporary}\n\
         upstream gateways {{ {servers}}}\n\
         server {{ listen {address}; location / {{\n\
         proxy_pass http://gateways; proxy_http_version 1.1; proxy_read_timeout 1h;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $host;\n\
         proxy_next_upstream error timeout http_503 non_idempotent; }} }} }}\n"
    )
}
