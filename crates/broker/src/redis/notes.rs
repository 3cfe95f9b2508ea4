//! Notes: short texts that nodes leave for one another, each a string with a time to live.

use crate::{Note, Unavailable};
use link::Link;
use redis::{RedisResult, cmd, pipe};
use std::time::Duration;
use tokio::time::timeout;

/// How long a note may take, waiting for a connection included.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn carry_out(link: Link, key: String, note: Note) -> Result<Option<String>, Unavailable> {
    let done = timeout(PATIENCE, async {
        let mut connection = link.pool().get().await.map_err(|error| error.to_string())?;
        ask(&mut **connection, &key, note).await.map_err(|error| error.to_string())
    });
    match done.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => {
            tracing::debug!(key, error, "a note cannot be read or written");
            Err(Unavailable)
        }
        Err(_) => Err(Unavailable),
    }
}

async fn ask(connection: &mut impl redis::aio::ConnectionLike, key: &str, note: Note) -> RedisResult<Option<String>> {
    let millis = |ttl: Duration| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match note {
        Note::Read => cmd("GET").arg(key).query_async(connection).await,
        Note::Write { text, ttl } => {
            cmd("SET").arg(key).arg(&text).arg("PX").arg(millis(ttl)).query_async::<()>(connection).await?;
            Ok(Some(text))
        }
        Note::First { text, ttl } => {
            let mut all = pipe();
            all.atomic().cmd("SET").arg(key).arg(&text).arg("NX").ignore();
            all.cmd("PEXPIRE").arg(key).arg(millis(ttl)).ignore();
            all.cmd("GET").arg(key);
            let (standing,): (Option<String>,) = all.query_async(connection).await?;
            Ok(standing)
        }
    }
}
