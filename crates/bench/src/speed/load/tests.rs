//! The generator against small relays of known faults: it finds them, and nothing else.

use super::Load;
use crate::speed::load::Dialect;
use crate::speed::plan::{Damage, From, Group, Outcome, Pace, Plan};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept};

/// What a relay does with the messages for one of its clients, beside sending them.
type Fault = fn(count: u32, waiting: &mut Vec<Message>);

/// How many of a client's messages are probes, or may be.
const PROBES: u32 = 20;

/// A relay that treats its last client so. What it sends is decided by one thread, so all see one order.
fn relay(clients: usize, fault: Fault) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (heard, to_send) = mpsc::sync_channel::<Message>(10_000);
        let sockets: Arc<Mutex<Vec<WebSocket<TcpStream>>>> = Arc::default();
        for stream in listener.incoming().map_while(Result::ok).take(clients) {
            let reading = stream.try_clone().unwrap();
            sockets.lock().unwrap().push(accept(stream).unwrap());
            let heard = heard.clone();
            std::thread::spawn(move || read(reading, &heard));
        }
        for (count, message) in (0..).zip(to_send) {
            let mut sockets = sockets.lock().unwrap();
            let last = sockets.len() - 1;
            let mut waiting = vec![message.clone()];
            if count >= PROBES {
                fault(count, &mut waiting);
            }
            sockets[..last].iter_mut().for_each(|socket| drop(socket.send(message.clone())));
            waiting.into_iter().for_each(|message| drop(sockets[last].send(message)));
        }
    });
    url
}

fn read(stream: TcpStream, heard: &mpsc::SyncSender<Message>) {
    use tokio_tungstenite::tungstenite::protocol::Role;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    while let Ok(message) = socket.read() {
        if message.is_text() && heard.send(message).is_err() {
            return;
        }
    }
}

/// Three subscribers of one channel, of whom the last is the relay's last client.
fn load(fault: Fault, pace: Pace) -> Outcome {
    let plan = Plan {
        urls: vec![relay(4, fault)],
        dialect: Dialect::Relay,
        watched: Vec::new(),
        warmup_s: 0.1,
        measure_s: 0.3,
        patience_s: 0.3,
        payload_bytes: 128,
        groups: vec![Group { channels: 1, subscribers: 3, from: From::Outside, pace }],
    };
    Load::open(&plan).unwrap().run().unwrap()
}

const RATE: f64 = 400.0;

#[test]
fn a_relay_without_faults_has_none_and_everything_is_counted() {
    let outcome = load(|_, _| {}, Pace::PerSecond(RATE));
    assert_eq!(outcome.damage, Damage::default());
    let group = &outcome.groups[0];
    let due = RATE * outcome.seconds;
    assert!((group.published as f64 - due).abs() < due / 2.0, "{group:?}");
    assert!(group.deliveries > group.published && group.p50_us > 0.0 && group.p99_us >= group.p50_us, "{group:?}");
}

#[test]
fn a_closed_loop_goes_on_with_what_arrives_and_stays_within_its_window() {
    let outcome = load(|_, _| {}, Pace::InFlight(8));
    assert_eq!(outcome.damage, Damage::default());
    assert!(outcome.groups[0].published > 20, "{outcome:?}");
}

#[test]
fn what_one_subscriber_misses_is_found() {
    let outcome = load(|count, waiting| waiting.truncate(usize::from(count % 10 != 0)), Pace::PerSecond(RATE));
    assert!(outcome.damage.lost >= 5 && outcome.damage.out_of_order == 0, "{:?}", outcome.damage);
}

#[test]
fn what_one_subscriber_is_sent_twice_is_found() {
    let twice: Fault = |count, waiting| waiting.extend_from_within(..usize::from(count % 10 == 0));
    let outcome = load(twice, Pace::PerSecond(RATE));
    assert!(outcome.damage.doubled >= 5 && outcome.damage.lost == 0, "{:?}", outcome.damage);
}
