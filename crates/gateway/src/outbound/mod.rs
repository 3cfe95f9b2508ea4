//! What a node asks and tells others of its own accord: HTTP requests to addresses of the configuration, and nowhere else.

mod address;
mod poster;
mod signature;

pub use address::{Address, Plain, Stream};
pub use poster::{Answer, Failure, Poster};
pub use signature::{SIGNATURE, Secret, TIMESTAMP};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A thread for requests to the application: neither sockets nor the broker wait for their TLS. Dropped, it ends, and with
/// it whatever is under way.
pub struct Thread {
    handle: Handle,
    _ends: oneshot::Sender<()>,
}

impl Thread {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new().name("outbound".to_owned()).spawn(move || {
            // Ends with the sender.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _ends: ends })
    }

    /// Where tasks are started on it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}
