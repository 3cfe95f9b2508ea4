//! `publish`: checks a publication and gathers it for the end of the turn; the outcome is answered from there.

use super::rate;
use crate::grant::Action;
use crate::hooks::{self, Denial};
use crate::local::connection::Connection;
use crate::local::speaker::Speaker;
use crate::local::{Asker, Local, Publishing};
use crate::policy::Namespace;
use crate::webhooks::Kind;
use protocol::{ErrorCode, Publication, Publish, Refusal, Reply, Text};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, publish: Publish) {
    let (namespace, counted) = match look(local, &**connection, &publish) {
        Ok(looked) => looked,
        Err(refusal) => return local.refuse(connection, "publish", id, refusal),
    };
    if counted.is_some() || local.node.hooks.asks_publish(namespace.hooks) {
        wait(local, connection, id, publish, namespace, counted);
    } else {
        gather(local, &**connection, publish, &namespace, Asker::Connection(connection.clone(), id));
    }
}

/// Publishes, in this order, for one who has no connection to be answered by: each publication has its outcome in its
/// place. Whatever cluster and application have not let through `by` then is not published.
pub async fn publish_all(
    local: &Local,
    who: &impl Speaker,
    asked: Vec<Result<Publish, Refusal>>,
    by: Instant,
) -> Vec<Result<Reply, Refusal>> {
    let mut begun = Vec::with_capacity(asked.len());
    for publish in asked {
        begun.push(match publish {
            Ok(publish) => begin(local, who, publish, by).await,
            Err(refusal) => Err(refusal),
        });
    }
    let mut answers = Vec::with_capacity(begun.len());
    for answer in begun {
        let answer = match answer {
            // Dropped unanswered only with the worker.
            Ok(answered) => answered.await.unwrap_or_else(|_| Err(unknown())),
            Err(refusal) => Err(refusal),
        };
        match &answer {
            Ok(_) => local.node.metrics.done("publish"),
            Err(refusal) => local.node.metrics.refused("publish", refusal.code),
        }
        answers.push(answer);
    }
    answers
}

/// Gathers a publication that everybody lets through; the outcome comes later.
async fn begin(
    local: &Local,
    who: &impl Speaker,
    publish: Publish,
    by: Instant,
) -> Result<oneshot::Receiver<Result<Reply, Refusal>>, Refusal> {
    super::take_turn(local, who)?;
    let (namespace, counted) = look(local, who, &publish)?;
    let let_through = timeout_at(by, let_through(local, who, &namespace, publish, counted));
    let publish = let_through.await.map_err(|_| Refusal::unavailable())??;
    if who.is_shut_out(local) {
        return Err(Refusal::new(ErrorCode::Unauthenticated, "the token has ended or was revoked meanwhile"));
    }
    let (answer, answered) = oneshot::channel();
    gather(local, who, publish, &namespace, Asker::Request(answer));
    Ok(answered)
}

fn unknown() -> Refusal {
    Refusal::new(ErrorCode::UnknownOutcome, "the node stopped; repeat with the same `key`")
}

/// What needs no waiting: whether whoever speaks may publish this here, and not too fast. With it comes what the cluster
/// counts.
fn look(
    local: &Local,
    who: &impl Speaker,
    publish: &Publish,
) -> Result<(Arc<Namespace>, Option<rate::Counted>), Refusal> {
    let namespace = local.may(who, Action::Publish, &publish.channel)?;
    check(&namespace, publish)?;
    let event = publish.event.as_deref();
    rate::take_own(local, who, namespace.rules.of(event))?;
    let counted = rate::of_cluster(who, &namespace.rules, event);
    Ok((namespace, counted))
}

/// Publishes what cluster and application let through. The connection's other commands wait, and nobody else does.
fn wait(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    publish: Publish,
    namespace: Arc<Namespace>,
    counted: Option<rate::Counted>,
) {
    // Nobody who has something on its way is sent away.
    connection.state.borrow_mut().publishing += 1;
    super::spawn_alone(local, connection, async move |local, connection| {
        let let_through = let_through(local, &**connection, &namespace, publish, counted).await;
        connection.state.borrow_mut().publishing -= 1;
        match let_through {
            // One who was shut out meanwhile says nothing any more.
            Ok(_) if connection.is_shut_out(local) => {}
            Ok(publish) => {
                gather(local, &**connection, publish, &namespace, Asker::Connection(connection.clone(), id));
            }
            Err(refusal) => local.refuse(connection, "publish", id, refusal),
        }
    });
}

/// The publication, or what the application wants published instead.
async fn let_through(
    local: &Local,
    who: &impl Speaker,
    namespace: &Namespace,
    mut publish: Publish,
    counted: Option<rate::Counted>,
) -> Result<Publish, Refusal> {
    if let Some(counted) = counted {
        rate::take_of_user(local, &counted).await?;
    }
    if !local.node.hooks.asks_publish(namespace.hooks) {
        return Ok(publish);
    }
    let (identity, client) = (who.identity(), who.client_id(local));
    let asker = hooks::Asker { client: &client, identity: identity.as_deref() };
    let max_bytes = local.node.config.worker.max_message_bytes;
    let max_bytes = namespace.max_message_bytes.map_or(max_bytes, |max| max.min(max_bytes));
    let answer = local.node.hooks.publish(asker, &publish, max_bytes).await.map_err(|denial| denial.refusal())?;
    if let Some(replacement) = answer {
        publish.data = replacement;
        // The application's word is held to the rules of the channel, too.
        check(namespace, &publish).map_err(|_| Denial::unavailable().refusal())?;
    }
    Ok(publish)
}

fn gather(local: &Local, who: &impl Speaker, publish: Publish, namespace: &Namespace, asker: Asker) {
    let retention = namespace.history.filter(|_| !publish.volatile);
    let tells = namespace.client_events && publish.event.is_some();
    let is_told = tells && local.node.webhooks.as_ref().is_some_and(|webhooks| webhooks.tells(Kind::ClientEvent));
    let publication = local.stamp(local.origin_of(who), publish.data, publish.event, publish.echo);
    let publication = Publication { retain: publish.retain.map(Text::from), ..publication };
    let asked = Instant::now();
    local.node.metrics.publications_in.inc();
    local.publish(Publishing {
        publish: broker::Publish {
            channel: publish.channel,
            publication,
            retention,
            key: publish.key,
            deadline: asked + local.node.config.worker.publish_deadline,
        },
        asker,
        asked,
        is_told,
    });
}

/// Whether a namespace takes a publication, whoever publishes it: what it says of data.
pub(crate) fn check(namespace: &Namespace, publish: &Publish) -> Result<(), Refusal> {
    if !namespace.takes_event(publish.event.as_deref()) {
        let message = "this channel takes only publications of its own events: `event` is none of them";
        return Err(Refusal::new(ErrorCode::PermissionDenied, message));
    }
    if let Some(max) = namespace.max_message_bytes
        && publish.data.bytes.len() > max
    {
        return Err(Refusal::new(ErrorCode::TooLarge, format!("`data` is larger than this channel's {max} bytes")));
    }
    namespace.schemas.check(publish.event.as_deref(), &publish.data)?;
    if publish.key.is_some() && (namespace.history.is_none() || publish.volatile) {
        return Err(Refusal::bad_request("`key` needs a channel with history and a publication that is not volatile"));
    }
    if publish.retain.is_some() {
        match namespace.history.filter(|_| !publish.volatile) {
            Some(kept) if kept.state.keys > 0 => {}
            Some(_) => return Err(Refusal::bad_request("this channel keeps no state: `retain` is not for it")),
            None => {
                let message = "`retain` needs a channel with history and a publication that is not volatile";
                return Err(Refusal::bad_request(message));
            }
        }
    }
    Ok(())
}
