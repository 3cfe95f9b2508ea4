//! A session by long polling: one GET always waits for what the gateway says, and what is sent goes by POST, one after
//! another, so that it stays in order (PROTOCOL.md, "Long polling").

mod door;

use crate::advice::Ended;
use crate::config::Config;
use crate::{Address, Transport};
use door::Door;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use tokio_tungstenite::tungstenite::http::Method;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Texts that wait for the POST before them.
const OUTGOING_MAX: usize = 256;

/// Commands of one array: the gateway takes no more.
const BATCH_MAX: usize = 256;

/// An open session.
pub(crate) struct Polls {
    door: Door,
    session: String,
    heard: VecDeque<Message>,
    polling: Option<BoxFuture<'static, Result<VecDeque<Message>, Error>>>,
    posting: Option<BoxFuture<'static, Result<(), Error>>>,
    outgoing: VecDeque<String>,
    max_body_bytes: usize,
}

/// The first object of a session, and the last one.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(default)]
    session: Option<String>,
    #[serde(default)]
    code: Option<Code>,
    #[serde(default, borrow)]
    reason: Option<Cow<'a, str>>,
}

/// A close code; errors have a word there.
#[derive(Deserialize)]
#[serde(untagged)]
enum Code {
    Close(u16),
    Other(serde::de::IgnoredAny),
}

impl Polls {
    /// Opens a session. What it says first waits to be read.
    pub(crate) async fn open(address: &Address, token: Option<&str>, config: &Config) -> Result<Self, Ended> {
        let Config { transport, max_message_bytes, .. } = config;
        let door = Door::new(address, Transport::clone(transport), *max_message_bytes)?;
        let body = door.open(token).await?;
        let (session, heard) = opened(&body).ok_or_else(|| Ended::lost("what was opened is no session"))?;
        let (polling, posting) = (None, None);
        let outgoing = VecDeque::new();
        Ok(Self { door, session, heard, polling, posting, outgoing, max_body_bytes: 0 })
    }

    /// The gateway takes bodies of this size. Until it is known, each text goes by itself.
    pub(crate) fn set_max_body_bytes(&mut self, max: usize) {
        self.max_body_bytes = max;
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            let polling = self.polling.get_or_insert_with(|| {
                let asked = self.door.ask(Method::GET, &self.session, String::new());
                async move { messages(&asked.await?).ok_or_else(|| broken("not an array of messages")) }.boxed()
            });
            let polled = ready!(polling.as_mut().poll(cx));
            self.polling = None;
            match polled {
                // That nothing was said is a sign of life.
                Ok(heard) if heard.is_empty() => return Poll::Ready(Some(Ok(Message::Pong("".into())))),
                Ok(heard) => self.heard = heard,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.outgoing.len() < OUTGOING_MAX {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    pub(super) fn queue(&mut self, text: String) {
        self.outgoing.push_back(text);
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            if let Some(posting) = &mut self.posting {
                let posted = ready!(posting.as_mut().poll(cx));
                self.posting = None;
                posted?;
            }
            let Some(body) = self.body() else { return Poll::Ready(Ok(())) };
            let asked = self.door.ask(Method::POST, &self.session, body);
            self.posting = Some(async move { asked.await.map(drop) }.boxed());
        }
    }

    /// As many texts as one body may hold: one as it is, several as an array.
    fn body(&mut self) -> Option<String> {
        let mut body = self.outgoing.pop_front()?;
        let mut count = 1;
        while let Some(next) = self.outgoing.front()
            && count < BATCH_MAX
            // A comma, and two brackets around it all.
            && body.len() + next.len() + 3 <= self.max_body_bytes
        {
            body.push(',');
            body.push_str(next);
            self.outgoing.pop_front();
            count += 1;
        }
        Some(if count == 1 { body } else { format!("[{body}]") })
    }

    /// Ends the session.
    pub(super) async fn leave(&mut self) -> Result<(), Error> {
        self.polling = None;
        self.door.ask(Method::DELETE, &self.session, String::new()).await.map(drop)
    }
}

fn broken(what: &str) -> Error {
    Error::Io(std::io::Error::other(what.to_owned()))
}

/// The name of a session, and what else it says first.
fn opened(body: &[u8]) -> Option<(String, VecDeque<Message>)> {
    let objects: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let (first, others) = objects.split_first()?;
    let Head { r#type, session, .. } = serde_json::from_str(first.get()).ok()?;
    let session = session.filter(|session| r#type == "opened" && !session.is_empty())?;
    Some((session, others.iter().map(|object| message(object)).collect::<Option<_>>()?))
}

/// What a poll was answered.
fn messages(body: &[u8]) -> Option<VecDeque<Message>> {
    let objects: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    objects.into_iter().map(message).collect()
}

/// An object as it would have come by a WebSocket.
fn message(object: &RawValue) -> Option<Message> {
    let head: Head<'_> = serde_json::from_str(object.get()).ok()?;
    Some(match (head.r#type.as_ref(), head.code) {
        ("close", Some(Code::Close(code))) => {
            let reason = head.reason.unwrap_or_default().into_owned();
            Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
        }
        _ => Message::text(object.get()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_names_the_session_and_holds_the_welcome() {
        let body = br#"[{"type":"opened","session":"s3","wait_ms":25000},{"type":"welcome","client":"n1.a.7"}]"#;
        let (session, heard) = opened(body).unwrap();
        assert_eq!(session, "s3");
        assert_eq!(heard, [Message::text(r#"{"type":"welcome","client":"n1.a.7"}"#)]);
    }

    #[test]
    fn what_names_no_session_is_none() {
        for body in
            ["", "{}", "[]", r#"[{"type":"welcome"}]"#, r#"[{"type":"opened"}]"#, r#"[{"type":"opened","session":""}]"#]
        {
            assert_eq!(opened(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn objects_are_handed_on_as_they_are_and_a_close_as_a_close() {
        let body =
            br#"[{"type":"error","code":"bad_request","message":"no"}, {"type":"close","code":4200,"reason":"drain"}]"#;
        let close = CloseFrame { code: 4200.into(), reason: "drain".into() };
        let error = Message::text(r#"{"type":"error","code":"bad_request","message":"no"}"#);
        assert_eq!(messages(body).unwrap(), [error, Message::Close(Some(close))]);
        assert_eq!(messages(b"[]").unwrap(), []);
        assert_eq!(messages(b"[1]"), None);
    }
}
