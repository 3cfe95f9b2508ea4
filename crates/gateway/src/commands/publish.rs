//! `publish`: checks a publication and gathers it for the end of the turn; the outcome is answered from there.

use crate::grant::Action;
use crate::local::connection::Connection;
use crate::local::{Local, Publishing};
use crate::metrics::Limit;
use crate::policy::Namespace;
use crate::rule::{Rule, Scope};
use link::Denied;
use protocol::{ErrorCode, Publication, Publish, Refusal, Text};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, publish: Publish) {
    let allowed = local.allow(connection, Action::Publish, &publish.channel);
    let checked = allowed.and_then(|namespace| check(&namespace, &publish).map(|()| namespace));
    let namespace = match checked {
        Ok(namespace) => namespace,
        Err(refusal) => return local.refuse(connection, "publish", id, refusal),
    };
    let asked = Instant::now();
    let Some(rule) = namespace.rules.of(publish.event.as_deref()) else {
        return hand_on(local, connection, id, &namespace, publish, asked);
    };
    if let Err(refusal) = take_own(local, connection, rule) {
        return local.refuse(connection, "publish", id, refusal);
    }
    let user = connection.state.borrow().session.identity.as_ref().map(|identity| identity.user.clone());
    let Some(user) = user.filter(|_| namespace.rules.scope == Scope::Cluster) else {
        return hand_on(local, connection, id, &namespace, publish, asked);
    };
    let rule = rule.clone();
    super::spawn_alone(local, connection, async move |local, connection| {
        match take_of_user(local, &rule, &user).await {
            Ok(()) if connection.has_ended() => {}
            Ok(()) => hand_on(local, connection, id, &namespace, publish, asked),
            Err(refusal) => local.refuse(connection, "publish", id, refusal),
        }
    });
}

/// Everybody has a bucket of the connection's own for a rule: whoever is too fast already costs Redis nothing.
fn take_own(local: &Local, connection: &Connection, rule: &Rule) -> Result<(), Refusal> {
    let now_ms = local.now_ms();
    let taken = connection.state.borrow_mut().buckets.take_of_rule(rule.id, &rule.rate, now_ms);
    taken.map_err(|wait| too_fast_here(local, wait))
}

async fn take_of_user(local: &Local, rule: &Rule, user: &Text) -> Result<(), Refusal> {
    let Some(rates) = &local.node.cluster_rates else { return Ok(()) };
    rates.take(rule, user).await.map_err(|denied| match denied {
        Denied::Empty(wait) => too_fast_here(local, wait),
        Denied::NoAnswer => Refusal::unavailable(),
    })
}

fn too_fast_here(local: &Local, wait: Duration) -> Refusal {
    local.node.metrics.limits.reached(Limit::NamespaceRate);
    super::too_fast("publications come faster than this channel's namespace allows", wait)
}

fn hand_on(
    local: &Rc<Local>,
    connection: &Rc<Connection>,
    id: Option<u64>,
    namespace: &Namespace,
    publish: Publish,
    asked: Instant,
) {
    let retention = namespace.history.filter(|_| !publish.volatile);
    let publication = local.stamp(local.origin(connection), publish.data, publish.event, publish.echo);
    let publication = Publication { retain: publish.retain.map(Text::from), ..publication };
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
