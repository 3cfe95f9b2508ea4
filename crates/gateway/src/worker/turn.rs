//! Taking what the node has put into the inbox and handing it out; and publishing what a turn has gathered, in one batch.

use super::copies::Copies;
use super::flush_tick::repeats_within_ms;
use super::repair;
use crate::commands;
use crate::hub::fanout::{Encoded, Turn};
use crate::inbox::{Inbox, Item, Mail};
use crate::local::connection::Connection;
use crate::local::{Asker, Local, Publishing};
use crate::policy::Namespace;
use crate::polling::calls;
use crate::socketio::removal;
use broker::{Delivery, Outcome, PublishError};
use protocol::dialect::Encoding;
use protocol::order::Order;
use protocol::{Channel, CloseCode, ErrorCode, Publication, Refusal, Reply};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// Takes mail until told to stop; returns the code to close what is left with.
pub(super) async fn take_mail(local: &Rc<Local>, inbox: &Arc<Inbox>) -> CloseCode {
    let mut not_before = Instant::now();
    loop {
        let mail = inbox.take(not_before).await;
        let began = Instant::now();
        not_before = began + local.flush_tick.get();
        let stop = handle(local, mail);
        local.keep_within_budget();
        local.node.metrics.turn_seconds.with_label_values(&["take"]).observe(began.elapsed().as_secs_f64());
        if let Some(code) = stop {
            return code;
        }
        // Mail that never ends must not keep everything else on this thread from its turn.
        tokio::task::yield_now().await;
    }
}

/// A turn's deliveries by channel, in the order in which channels came.
#[derive(Default)]
struct Gathered {
    order: Vec<Channel>,
    deliveries: HashMap<Channel, Vec<Arc<Delivery>>>,
}

impl Gathered {
    fn add(&mut self, channel: &Channel, delivery: Arc<Delivery>) {
        let of_channel = self.deliveries.entry(channel.clone()).or_default();
        if of_channel.is_empty() {
            self.order.push(channel.clone());
        }
        of_channel.push(delivery);
    }

    fn fan_out(&self, local: &Rc<Local>) {
        for channel in &self.order {
            if let Some(deliveries) = self.deliveries.get(channel) {
                fan_out(local, channel, deliveries);
            }
        }
    }
}

/// The code to close everything with, when the worker is to stop.
fn handle(local: &Rc<Local>, mail: Mail) -> Option<CloseCode> {
    let mut gathered = Gathered::default();
    let mut stop = None;
    for item in mail.items {
        match item {
            Item::Opened { channel, ticket, position, has_state } => {
                local.hub.borrow_mut().open(&channel, ticket, position, has_state);
            }
            Item::Delivery { delivery, arrived } => {
                let waits = channel_of(&delivery)
                    .is_some_and(|channel| local.hub.borrow_mut().waits_for_repair(channel, &delivery));
                if !waits {
                    pass(local, delivery, arrived, &mut gathered);
                }
            }
            Item::Order(order) => match *order {
                order @ (Order::Request { .. } | Order::Response { .. }) => {
                    calls::take_order(local, super::serve, order);
                }
                order => commands::take_order(local, order),
            },
            Item::Handover(handover) => removal::take_stream(local, *handover),
            Item::Revoked => local.end_revoked(),
            Item::Shed { shed, share } => local.begin_shedding(shed, share),
            Item::Wave { shed, count } => local.close_wave(&shed, count),
            Item::ShedEnds { shed, closes_rest } => local.end_shedding(&shed, closes_rest),
            Item::Stop(code) => stop = Some(code),
        }
    }
    gathered.fan_out(local);
    for (channel, overflow) in mail.overflows {
        let is_known = local.hub.borrow_mut().spoil_repair(&channel);
        if !is_known {
            repair::begin(local, channel, overflow);
        }
    }
    stop
}

fn channel_of(delivery: &Delivery) -> Option<&Channel> {
    match delivery {
        Delivery::Publications { channel, .. }
        | Delivery::Gap { channel, .. }
        | Delivery::Membership { channel, .. }
        | Delivery::Opened { channel, .. } => Some(channel),
        Delivery::Direct(_) | Delivery::Control(_) => None,
    }
}

/// Fans out deliveries that do not come from the inbox: what a repair has read.
pub(super) fn deliver(local: &Rc<Local>, deliveries: Vec<Arc<Delivery>>) {
    let mut gathered = Gathered::default();
    let now = Instant::now();
    deliveries.into_iter().for_each(|delivery| pass(local, delivery, now, &mut gathered));
    gathered.fan_out(local);
}

fn pass(local: &Local, delivery: Arc<Delivery>, arrived: Instant, gathered: &mut Gathered) {
    let Some(channel) = channel_of(&delivery).cloned() else { return };
    let mut hub = local.hub.borrow_mut();
    // Not open: stragglers of a channel that this worker has left.
    let Some(entry) = hub.entry(&channel) else { return };
    let Some(delivery) = entry.fresh(delivery) else { return };
    entry.pass(&delivery);
    let has_subscribers = !entry.is_empty();
    match &*delivery {
        Delivery::Gap { .. } if has_subscribers => local.node.metrics.gaps.inc(),
        Delivery::Publications { publications, .. } if has_subscribers => {
            let sent_ms = publications.first().map_or(0, |p| p.time_ms);
            local.delivered.borrow_mut().push((arrived, sent_ms));
        }
        _ => {}
    }
    gathered.add(&channel, delivery);
}

/// Encodes and compresses once for each kind of subscriber; only those who have read ahead get bytes of their own, uncompressed.
fn fan_out(local: &Rc<Local>, channel: &Channel, deliveries: &[Arc<Delivery>]) {
    // A list that is kept, or each turn would have to make one as large as the channel.
    let mut subscribers = local.subscribers.take();
    let namespace = {
        let mut hub = local.hub.borrow_mut();
        let Some(entry) = hub.entry(channel) else { return };
        subscribers.extend(entry.subscribers().map(|(s, ahead)| (s.clone(), ahead.cloned())));
        entry.caught_up();
        if entry.hand(local.now_ms(), repeats_within_ms(local.node.config.worker.flush_tick_max)) {
            local.repeated.set(local.repeated.get().wrapping_add(subscribers.len() as u64));
        }
        entry.namespace.clone()
    };
    local.begin_handing(subscribers.len());
    let number_of = |id: &str| local.number_of(id);
    let turn = Turn { channel, namespace: &namespace, deliveries, number_of: &number_of, meter: &local.meter };
    let without_members = without_members(&namespace, deliveries);
    let mut of_all = Copies::of(turn);
    let mut of_others = without_members.as_deref().map(|deliveries| Copies::of(Turn { deliveries, ..turn }));
    let mut delivered = 0;
    for (connection, ahead) in subscribers.drain(..) {
        let (connection, ahead) = (&connection, ahead.as_ref());
        let encoding = connection.encoding();
        let hidden_from = of_others.as_mut().filter(|_| !sees_members(connection, channel));
        let copies = hidden_from.unwrap_or(&mut of_all);
        delivered += match ahead {
            Some(_) => hand_out(local, connection, &copies.turn.encode(&encoding, ahead)),
            None => hand_out(local, connection, copies.get(local, &encoding, connection.deflate)),
        };
    }
    local.end_handing();
    local.subscribers.replace(subscribers);
    local.node.metrics.deliveries.inc_by(delivered);
}

/// The deliveries without who came and went, if there are such: for those who may not know.
fn without_members(namespace: &Namespace, deliveries: &[Arc<Delivery>]) -> Option<Vec<Arc<Delivery>>> {
    let is_change = |delivery: &Arc<Delivery>| matches!(**delivery, Delivery::Membership { .. });
    if !namespace.join_leave || !deliveries.iter().any(is_change) {
        return None;
    }
    Some(deliveries.iter().filter(|delivery| !is_change(delivery)).cloned().collect())
}

fn sees_members(connection: &Connection, channel: &Channel) -> bool {
    connection.state.borrow_mut().session.subscription(channel).is_some_and(|subscription| subscription.sees_members)
}

fn hand_out(local: &Rc<Local>, connection: &Rc<Connection>, encoded: &Encoded) -> u64 {
    let (parts, publications) = encoded.parts(connection.number);
    let all_taken = parts.iter().all(|part| part.is_empty() || local.send_shared(connection, &encoded.frames, part));
    if let Some(code) = encoded.close {
        local.close(connection, code);
    }
    if publications > 0 && connection.state.borrow().engine.is_some() {
        note_places(local, connection);
    }
    if all_taken { publications } else { 0 }
}

/// Whoever is in one channel alone has been told its place with the publication.
fn note_places(local: &Rc<Local>, connection: &Rc<Connection>) {
    if matches!(connection.encoding(), Encoding::SocketIoTracked(_)) {
        local.note_places(connection);
    }
}

/// Everything this turn publishes is one batch; the answers come when the broker has it.
pub(super) fn publish(local: &Rc<Local>) {
    let gathered = std::mem::take(&mut *local.publishing.borrow_mut());
    if gathered.is_empty() {
        return;
    }
    let mut batch = Vec::with_capacity(gathered.len());
    let mut askers = Vec::with_capacity(gathered.len());
    for Publishing { publish, asker, asked, is_told } in gathered {
        let told = is_told.then(|| publish.publication.clone());
        askers.push((asker, publish.channel.clone(), asked, told));
        batch.push(publish);
    }
    let outcomes = local.node.broker.publish(batch);
    let local = local.clone();
    tokio::task::spawn_local(async move {
        let outcomes = outcomes.await;
        for ((asker, channel, asked, told), outcome) in askers.into_iter().zip(outcomes) {
            local.node.metrics.publish_seconds.observe(asked.elapsed().as_secs_f64());
            if let Some(publication) = told {
                tell(&local, &channel, &publication, &outcome);
            }
            answer(&local, asker, answer_of(channel, outcome));
        }
    });
}

/// Tells the application of a publication that the broker has; of one that it may have, that it may be missing.
fn tell(local: &Local, channel: &Channel, publication: &Publication, outcome: &Outcome) {
    let Some(webhooks) = &local.node.webhooks else { return };
    match (outcome, &publication.from, &publication.event) {
        (Ok(position), Some(from), Some(event)) => {
            webhooks.client_event(channel, position.as_ref(), from, event, &publication.data);
        }
        (Err(PublishError::UnknownOutcome), ..) => webhooks.miss(1),
        _ => {}
    }
}

fn answer(local: &Rc<Local>, asker: Asker, answer: Result<Reply, Refusal>) {
    match asker {
        Asker::Connection(connection, id) => {
            connection.state.borrow_mut().publishing -= 1;
            match answer {
                Ok(reply) => {
                    local.node.metrics.done("publish");
                    local.reply(&connection, id, reply);
                }
                Err(refusal) => local.refuse(&connection, "publish", id, refusal),
            }
        }
        // Whoever has gone has gone: its publication has not.
        Asker::Request(waiting) => drop(waiting.send(answer)),
    }
}

fn answer_of(channel: Channel, outcome: Outcome) -> Result<Reply, Refusal> {
    match outcome {
        Ok(position) => Ok(Reply::Published { channel, position }),
        Err(PublishError::Unavailable) => Err(Refusal::unavailable()),
        Err(PublishError::StateFull) => {
            let message = "the channel's state has no room for this key: take one out, or wait until one ends";
            Err(Refusal::new(ErrorCode::LimitExceeded, message))
        }
        Err(PublishError::UnknownOutcome) => {
            let message = "the broker did not answer in time; repeat with the same `key`";
            Err(Refusal::new(ErrorCode::UnknownOutcome, message))
        }
    }
}
