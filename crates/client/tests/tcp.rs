//! The client over TCP, as it is used when an application brings no transport of its own.

#![allow(clippy::unwrap_used, reason = "a test may end where its expectation does")]

use client::{Channel, Client, Config, PublishOptions, State};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

async fn welcome(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
    let select = |_: &Request, mut response: Response| {
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("gateway.v1.json"));
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, select).await.unwrap();
    let welcome = json!({"type": "welcome", "client": "n1.a.7", "node": "n1.a", "ping_interval_ms": 25_000});
    socket.send(Message::text(welcome.to_string())).await.unwrap();
    socket
}

#[tokio::test]
async fn commands_and_answers_go_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let client = Client::connect(Config::new([url])).unwrap();
    let mut socket = welcome(&listener).await;
    let answering = tokio::spawn(async move {
        let command: Value = serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        let reply = json!({"type": "published", "id": command["id"], "channel": "chat", "epoch": "e1", "offset": 1});
        socket.send(Message::text(reply.to_string())).await.unwrap();
        (socket, command)
    });
    let published = client.publish(&Channel::new("chat").unwrap(), "hello", PublishOptions::default()).await;
    assert_eq!(published.unwrap().position.unwrap().offset, 1);
    assert_eq!(answering.await.unwrap().1["data"], "hello");
}

#[tokio::test]
async fn where_nobody_listens_it_waits_and_tries_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::connect(Config::new([format!("ws://{address}/ws")])).unwrap();
    client.state().wait_for(|state| matches!(state, State::Waiting { .. })).await.unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    let _socket = welcome(&listener).await;
    client.connected().await.unwrap();
}
