//! Revocations and sessions in Redis.
//!
//! What is in Redis is the truth, and every node asks for what is new several times a second, in one small command. So no
//! message between nodes has to arrive: those that are sent only make it faster.

mod asking;
mod revocations;
mod scripts;
mod sessions;

pub use revocations::RedisRevocations;
pub use sessions::RedisSessions;

use std::time::Duration;

/// How long Redis may take for one pipeline.
const FLIGHT_DEADLINE: Duration = Duration::from_secs(2);
