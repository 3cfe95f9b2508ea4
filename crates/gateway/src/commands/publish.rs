//! `publish`: checks a publication and gathers it for the end of the turn; the outcome is answered from there.

use super::rate;
use crate::grant::Action;
use crate::hooks::{Asker, Denial};
use crate::local::connection::Connection;
use crate::local::{Local, Publishing};
use crate::policy::Namespace;
use crate::webhooks::Kind;
use protocol::{CloseCode, ErrorCode, Publication, Publish, Refusal, Text};
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, publish: Publish) {
    let allowed = local.allow(connection, Action::Publish, &publish.channel);
    let checked = allowed.and_then(|namespace| {
        check(&namespace, &publish)?;
        rate::take_own(local, connection, namespace.rules.of(publish.event.as_deref()))?;
        Ok(namespace)
    });
    let namespace = match checked {
        Ok(namespace) => namespace,
        Err(refusal) => return local.refuse(connection, "publish", id, refusal),
    };
    let counted = rate::of_cluster(connection, &namespace.rules, publish.event.as_deref());
    if counted.is_some() || local.node.hooks.asks_publish(namespace.hooks) {
        wait(local, connection, id, publish, namespace, counted);
    } else {
        gather(local, connection, id, publish, &namespace);
    }
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
        let let_through = let_through(local, connection, &namespace, publish, counted).await;
        connection.state.borrow_mut().publishing -= 1;
        match let_through {
            Ok(_) if is_shut_out(local, connection) => {}
            Ok(publish) => gather(local, connection, id, publish, &namespace),
            Err(refusal) => local.refuse(connection, "publish", id, refusal),
        }
    });
}

/// What somebody says and then goes away is said. One who was shut out meanwhile, or is revoked by now, says nothing any more.
fn is_shut_out(local: &Local, connection: &Connection) -> bool {
    let ended = connection.state.borrow().ended;
    ended.is_some_and(|code| code != CloseCode::Normal || local.is_revoked(connection))
}

/// The publication, or what the application wants published instead.
async fn let_through(
    local: &Local,
    connection: &Connection,
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
    let identity = connection.state.borrow().session.identity.clone();
    let client = local.client_id(connection);
    let asker = Asker { client: &client, identity: identity.as_deref() };
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

fn gather(local: &Local, connection: &Rc<Connection>, id: Option<u64>, publish: Publish, namespace: &Namespace) {
    let retention = namespace.history.filter(|_| !publish.volatile);
    let tells = namespace.client_events && publish.event.is_some();
    let is_told = tells && local.node.webhooks.as_ref().is_some_and(|webhooks| webhooks.tells(Kind::ClientEvent));
    let publication = local.stamp(local.origin(connection), publish.data, publish.event, publish.echo);
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
        connection: connection.clone(),
        id,
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
