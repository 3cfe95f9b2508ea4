//! The Rust client of the gateway: one connection that comes back by itself, and channels that miss nothing of what the
//! gateway still holds.
//!
//! ```no_run
//! use client::{Channel, Client, Config, Event, PublishOptions, SubscribeOptions};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(Config::new(["ws://localhost:8080/ws"]))?;
//! let news = Channel::new("news")?;
//! let mut subscription = client.subscribe(&news, SubscribeOptions::default()).await?;
//! client.publish(&news, "hello", PublishOptions::keyed()).await?;
//! while let Some(event) = subscription.next().await {
//!     match event {
//!         Event::Publication(publication) => println!("{}", publication.data.parse::<String>()?),
//!         Event::Gap(_) => println!("something is lost: time to reload"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Subscription`] outlives connections: it goes on from the last position that was handed on, drops what comes twice,
//! and says with one [`Event::Gap`] where the gateway no longer has what was missed. [`Client::state`] tells what becomes
//! of the connection; the close codes of the gateway decide whether and when the client comes back. Where no WebSocket can
//! be opened, as behind some proxies, it speaks the same by long polling, until one can ([`Config::may_poll`]).

mod address;
mod advice;
mod backoff;
mod client;
mod config;
mod connection;
mod driver;
mod error;
mod event;
mod fallback;
mod line;
mod order;
mod polls;
mod request;
mod retained;
mod session;
mod state;
mod stats;
mod subscription;
mod transport;
mod wire;

#[cfg(feature = "fuzzing")]
pub use wire::read_message;

pub use address::Address;
pub use client::Client;
pub use config::{Config, Token, TokenError};
pub use error::{Closed, ConfigError, Invalid, PublishError, Refusal, RequestError, SubscribeError};
pub use event::{Data, Event, Gap, GapCause, Message, Publication};
pub use protocol::{
    Cause, Channel, ChannelError, CloseCode, Epoch, ErrorCode, Member, Members, Origin, Position, Since, Text,
};
pub use request::{History, HistoryOptions, PublishOptions, Published};
pub use retained::Retained;
pub use state::State;
pub use stats::Stats;
pub use subscription::{Messages, SubscribeOptions, Subscription, SubscriptionToken};
pub use transport::{Transport, Wire};
