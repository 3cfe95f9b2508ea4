//! Bodies: those of requests, bounded in bytes and time, and those of answers, whole or as they come.

use super::events::Events;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use protocol::{ErrorCode, Refusal};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// The body of an answer.
pub(super) enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// A stream that goes on until its connection ends.
    Events(Box<Events>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Whole(Full::default())
    }
}

impl From<Full<Bytes>> for Body {
    fn from(whole: Full<Bytes>) -> Self {
        Self::Whole(whole)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Events(events) => events.poll(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBody {
    /// It is larger than it may be.
    TooLarge,
    /// It did not come in time.
    Late,
    /// It ended early, or is not as HTTP has it.
    Broken,
}

impl NoBody {
    /// What is answered to that.
    pub(super) fn refusal(self, max_bytes: usize) -> (StatusCode, Refusal) {
        match self {
            Self::TooLarge => {
                let message = format!("the body is larger than {max_bytes} bytes (limits.max_message)");
                (StatusCode::PAYLOAD_TOO_LARGE, Refusal::new(ErrorCode::TooLarge, message))
            }
            Self::Late => (StatusCode::REQUEST_TIMEOUT, Refusal::bad_request("the body did not come within 5 s")),
            Self::Broken => (StatusCode::BAD_REQUEST, Refusal::bad_request("the body is broken off")),
        }
    }
}

/// Reads a body of at most so many bytes; one that says it is larger is not begun.
pub(super) async fn read(body: Incoming, max_bytes: usize) -> Result<Bytes, NoBody> {
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(NoBody::TooLarge);
    }
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, max_bytes).collect()).await.map_err(|_| NoBody::Late)?;
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(NoBody::TooLarge),
        Err(_) => Err(NoBody::Broken),
    }
}
