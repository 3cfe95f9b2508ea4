//! `publish`: checks a publication and gathers it for the end of the turn; the outcome is answered from there.

use crate::grant::Action;
use crate::local::connection::Connection;
use crate::local::{Local, Publishing};
use crate::policy::Namespace;
use protocol::{ErrorCode, Publication, Publish, Refusal, Text};
use std::rc::Rc;
use tokio::time::Instant;

pub(super) fn run(local: &Rc<Local>, connection: &Rc<Connection>, id: Option<u64>, publish: Publish) {
    let allowed = local.allow(connection, Action::Publish, &publish.channel);
    let checked = allowed.and_then(|namespace| check(&namespace, &publish).map(|()| namespace));
    let namespace = match checked {
        Ok(namespace) => namespace,
        Err(refusal) => return local.refuse(connection, "publish", id, refusal),
    };
    let retention = namespace.history.filter(|_| !publish.volatile);
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
