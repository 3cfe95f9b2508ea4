//! The gateway that tutorials write: a task for each connection, a channel into it, one Redis topic for all, and a send for each
//! message. Nothing is made slow on purpose: text is shared, sockets do not delay, libraries have their defaults.

use super::{Command, Kind, SUBSCRIBED, publication, tell_ready};
use crate::Fault;
use futures_util::{SinkExt, StreamExt};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// The topic of all channels.
const TOPIC: &str = "tutorial";

/// What waits for one connection. Tutorials that have a bound at all take such a one, and lose what is beyond.
const WAITING_MAX: usize = 1024;

type Rooms = Arc<Mutex<HashMap<String, HashMap<u64, Sender<Utf8Bytes>>>>>;

/// What goes through Redis.
#[derive(Serialize, Deserialize)]
struct Passed<'a> {
    room: &'a str,
    text: String,
}

/// Serves on the runtime that `#[tokio::main]` would make: a thread for each core that it may use.
pub(super) fn serve(listen: SocketAddr, redis: &str) -> Result<(), Fault> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(accept(listen, redis))
}

async fn accept(listen: SocketAddr, redis: &str) -> Result<(), Fault> {
    let client = redis::Client::open(redis)?;
    // The library's own 500 ms would end whoever publishes while the core is full.
    let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let publisher = client.get_multiplexed_async_connection_with_config(&patient).await?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe(TOPIC).await?;
    let rooms = Rooms::default();
    tokio::spawn(relay(subscriber, Arc::clone(&rooms)));
    let listener = TcpListener::bind(listen).await?;
    tell_ready();
    for id in 0.. {
        let (stream, _) = listener.accept().await?;
        let (publisher, rooms) = (publisher.clone(), Arc::clone(&rooms));
        tokio::spawn(async move {
            let mut joined = Vec::new();
            // However it ends, a tutorial's connection is just gone.
            let _ = converse(stream, id, publisher, &rooms, &mut joined).await;
            let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
            joined.iter().for_each(|room| {
                rooms.get_mut(room).map(|members| members.remove(&id));
            });
        });
    }
    Ok(())
}

/// From Redis to whoever is in the room.
async fn relay(subscriber: redis::aio::PubSub, rooms: Rooms) {
    let mut messages = subscriber.into_on_message();
    while let Some(message) = messages.next().await {
        let Ok(passed) = serde_json::from_slice::<Passed<'_>>(message.get_payload_bytes()) else { continue };
        let rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let text = Utf8Bytes::from(passed.text);
        for member in rooms.get(passed.room).into_iter().flat_map(HashMap::values) {
            let _ = member.try_send(text.clone());
        }
    }
}

fn join(rooms: &Rooms, room: &str, id: u64, member: &Sender<Utf8Bytes>) {
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    rooms.entry(room.to_owned()).or_default().insert(id, member.clone());
}

async fn converse(
    stream: TcpStream,
    id: u64,
    mut publisher: MultiplexedConnection,
    rooms: &Rooms,
    joined: &mut Vec<String>,
) -> Result<(), Fault> {
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let (sender, mut receiver): (Sender<Utf8Bytes>, Receiver<Utf8Bytes>) = channel(WAITING_MAX);
    let name = format!("tutorial-{id}");
    loop {
        tokio::select! {
            Some(text) = receiver.recv() => socket.send(Message::Text(text)).await?,
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                let Message::Text(text) = message? else { continue };
                let command = Command::read(text.as_bytes())?;
                if command.kind == Kind::Subscribe {
                    join(rooms, &command.channel, id, &sender);
                    joined.push(command.channel);
                    socket.send(Message::text(SUBSCRIBED)).await?;
                } else {
                    let text = publication(&command.channel, &name, command.data());
                    let passed = serde_json::to_string(&Passed { room: &command.channel, text })?;
                    let _: () = publisher.publish(TOPIC, passed).await?;
                }
            }
        }
    }
}
