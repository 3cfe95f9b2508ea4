//! What holds when Redis fails.

#[path = "redis_failures/data.rs"]
mod data;
#[path = "redis_failures/failover.rs"]
mod failover;
#[path = "redis_failures/outages.rs"]
mod outages;
#[path = "redis_failures/repairs.rs"]
mod repairs;
#[path = "redis_failures/standstills.rs"]
mod standstills;
mod support;

use broker::Broker;
use protocol::{Channel, Position};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{keyed, until};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A publisher that repeats each text with its key until it is acknowledged, as a client would.
struct Publisher {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<std::sync::Mutex<Vec<(Position, String)>>>,
    task: JoinHandle<()>,
}

impl Publisher {
    fn start(broker: &Arc<dyn Broker>, channel: &Channel, name: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (broker, channel) = (broker.clone(), channel.clone());
        let (stopped, positions) = (stop.clone(), acknowledged.clone());
        let task = tokio::spawn(async move {
            for i in 0.. {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let text = format!("{name}-{i}");
                let position = publish_until_acknowledged(&*broker, &channel, &text).await;
                positions.lock().expect("positions").push((position, text));
            }
        });
        Self { stop, acknowledged, task }
    }

    /// Waits until so many more texts are acknowledged.
    async fn goes_on(&self, count: usize) {
        let count = self.acknowledged.lock().expect("positions").len() + count;
        until(|| self.acknowledged.lock().expect("positions").len() >= count).await;
    }

    /// What was acknowledged, in all.
    async fn stop(self) -> Vec<(Position, String)> {
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("the publisher");
        std::mem::take(&mut self.acknowledged.lock().expect("positions"))
    }
}

async fn publish_until_acknowledged(broker: &dyn Broker, channel: &Channel, text: &str) -> Position {
    loop {
        let publish =
            broker::Publish { deadline: Instant::now() + Duration::from_secs(2), ..keyed(channel, text, text) };
        let begun = Instant::now();
        let outcome = broker.publish(vec![publish]).await.remove(0);
        assert!(begun.elapsed() < Duration::from_millis(2500), "no outcome by the deadline");
        match outcome {
            Ok(position) => return position.expect("a position"),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// What a subscriber must be delivered for this: (offset, text), in order.
fn in_order(acknowledged: Vec<(Position, String)>) -> Vec<(Option<u64>, String)> {
    let mut all: Vec<_> = acknowledged.into_iter().map(|(position, text)| (Some(position.offset), text)).collect();
    all.sort();
    all
}
