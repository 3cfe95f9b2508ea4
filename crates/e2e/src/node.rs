//! One node on threads of its own, as in the process of its own that it would have: what a test's clients do, however
//! much, does not keep it from its work.

use gateway::app::{self, MemoryCluster, Running};
use gateway::config::Config;
use gateway::inbox::Item;
use protocol::CloseCode;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// A node that runs. Dropped without having been stopped, it ends as soon as its threads notice, in no order.
pub(crate) struct Node {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    config: Config,
    memory: MemoryCluster,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Node {
    /// Starts a node and waits until its ports are open.
    pub(crate) async fn start(config: Config, memory: MemoryCluster) -> Self {
        let (tell_addresses, addresses) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (tell_end, ended) = oneshot::channel();
        let (kept_config, kept_memory) = (config.clone(), memory.clone());
        let life = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let running = app::start(config, &memory).await.unwrap_or_else(|error| panic!("a node: {error}"));
                let _ = tell_addresses.send((running.public, running.admin));
                tokio::select! {
                    stopped = stopped => match stopped {
                        Ok(()) => running.stop().await,
                        Err(_) => abandon(&running),
                    },
                    // By hand, on its admin port.
                    () = running.stopping() => running.ended().await,
                }
            });
            // With everything that ran in it: the ports are free from here on.
            drop(runtime);
            // Nobody waits for it where the test has failed already.
            let _ = tell_end.send(());
        };
        std::thread::Builder::new().name("node".to_owned()).spawn(life).expect("a thread");
        let (public, admin) = addresses.await.expect("a node that has started");
        Self { public, admin, config: kept_config, memory: kept_memory, stop: Some(stop), ended: Some(ended) }
    }

    /// The same node anew, on the ports it had.
    pub(crate) async fn start_again(&self) -> Self {
        let config = Config { listen: self.public, admin_listen: self.admin, ..self.config.clone() };
        Self::start(config, self.memory.clone()).await
    }

    /// Waits for the end of a node that stops by hand.
    pub(crate) fn end(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.ended.take().expect("a node that runs");
        async move { ended.await.expect("an end in order") }
    }

    /// Begins to stop it in order; the future waits for its end.
    pub(crate) fn stop(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let (stop, ended) = (self.stop.take().expect("a node that runs"), self.ended.take().expect("a node that runs"));
        stop.send(()).expect("a node that lives");
        async move { ended.await.expect("an end in order") }
    }
}

fn abandon(running: &Running) {
    running.node.tell_workers(|| Item::Stop(CloseCode::GoingAway));
}
