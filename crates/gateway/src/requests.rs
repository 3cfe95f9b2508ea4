//! What clients may do who come by plain HTTP: so many requests at once, and the buckets that a connection would have are
//! those of a user, or else of an address.

use crate::auth::Identity;
use crate::crowd::{Crowd, RuleCrowds};
use crate::limit::{Rate, Rates, RuleId};
use aws_lc_rs::digest::{SHA256, digest};
use protocol::{Channel, Text};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Readings of logs at once. One may bring 256 publications of the largest size, 16 MiB of 64 KiB each, whatever fits into
/// the answer.
const READINGS_MAX: usize = 16;

/// How long a channel that was read is known to be in Redis: well within the ten minutes that it is kept there.
const READ_LATELY: Duration = Duration::from_secs(broker::UNUSED_TTL.as_secs() / 4);

/// How many such channels are remembered, twice.
const CHANNELS_MAX: usize = 16_384;

/// How many of the application's answers are.
const ANSWERS_MAX: usize = 16_384;

/// Whose bucket it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A user's, wherever the requests come from.
    User(Text),
    /// That of all who show no token from one address (IPv6: one /64).
    Address(IpAddr),
}

/// The requests of one node.
pub struct Requests {
    places: Arc<Semaphore>,
    places_max: u32,
    readings: Semaphore,
    commands: Crowd<Whose>,
    new_channels: Crowd<Whose>,
    rules: RuleCrowds<Whose>,
    read_lately: Mutex<Lately>,
    answers: Mutex<HashMap<Digest, Answer>>,
    answers_kept: Duration,
}

type Digest = [u8; 32];

/// What the application has made of somebody, and until when that holds.
struct Answer {
    until: Instant,
    identity: Option<Arc<Identity>>,
}

/// Two generations, so that what is in use stays and what is not goes, in two steps.
#[derive(Default)]
struct Lately {
    young: HashSet<Channel>,
    old: HashSet<Channel>,
    turned: Option<Instant>,
}

impl Requests {
    /// So many at once, each user and address as fast as a connection; the application's answers hold so long.
    pub fn new(places_max: usize, rates: &Rates, answers_kept: Duration) -> Self {
        let places_max = u32::try_from(places_max.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            places: Arc::new(Semaphore::new(places_max as usize)),
            places_max,
            readings: Semaphore::new(READINGS_MAX),
            commands: Crowd::new(rates.messages),
            new_channels: Crowd::new(rates.new_channels),
            rules: RuleCrowds::default(),
            read_lately: Mutex::default(),
            answers: Mutex::default(),
            answers_kept,
        }
    }

    /// A place for one request, until its answer has left; none when there are too many.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Waits until what has been asked is answered.
    pub async fn idle(&self) {
        // The semaphore is never closed.
        let _ = self.places.acquire_many(self.places_max).await;
    }

    /// Waits for a place to read a log in.
    pub async fn read(&self) -> Option<SemaphorePermit<'_>> {
        self.readings.acquire().await.ok()
    }

    /// Takes one for a command.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take_command(&self, whose: &Whose) -> Result<(), Duration> {
        self.commands.take(whose)
    }

    /// Takes one of a namespace's rule.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take_of_rule(&self, whose: &Whose, rule: RuleId, rate: &Rate) -> Result<(), Duration> {
        self.rules.take(rule, rate, whose)
    }

    /// Takes one for a channel that nobody of this node is subscribed to. Those who read the same one again and again, as
    /// polling does, open nothing.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take_new_channel(&self, whose: &Whose, channel: &Channel) -> Result<(), Duration> {
        let mut lately = self.read_lately.lock().unwrap_or_else(PoisonError::into_inner);
        if !lately.knows(channel) {
            self.new_channels.take(whose)?;
        }
        lately.note(channel);
        Ok(())
    }

    /// What the application has said lately to the same question.
    pub fn known(&self, question: &[u8]) -> Option<Option<Arc<Identity>>> {
        if self.answers_kept.is_zero() {
            return None;
        }
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(&key(question)?)?;
        (Instant::now() < answer.until).then(|| answer.identity.clone())
    }

    /// Keeps for a while that it has said yes.
    pub fn remember(&self, question: &[u8], identity: Option<Arc<Identity>>) {
        let Some(key) = key(question).filter(|_| !self.answers_kept.is_zero()) else { return };
        let now = Instant::now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, answer| now < answer.until);
        }
        if answers.len() >= ANSWERS_MAX {
            // Whoever is forgotten is asked about once more.
            let mut count = 0;
            answers.retain(|_, _| {
                count += 1;
                count % 2 == 0
            });
        }
        answers.insert(key, Answer { until: now + self.answers_kept, identity });
    }
}

fn key(question: &[u8]) -> Option<Digest> {
    digest(&SHA256, question).as_ref().try_into().ok()
}

impl Lately {
    fn knows(&mut self, channel: &Channel) -> bool {
        let now = Instant::now();
        match self.turned {
            Some(turned) if now < turned + READ_LATELY => {}
            Some(turned) if now < turned + 2 * READ_LATELY => self.turn(now),
            _ => {
                self.turn(now);
                self.old.clear();
            }
        }
        self.young.contains(channel) || self.old.contains(channel)
    }

    fn note(&mut self, channel: &Channel) {
        if self.young.len() >= CHANNELS_MAX {
            self.turn(Instant::now());
        }
        self.young.insert(channel.clone());
    }

    fn turn(&mut self, now: Instant) {
        self.old = std::mem::take(&mut self.young);
        self.turned = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn requests() -> Requests {
        let one = "1/m burst 1".parse().unwrap();
        Requests::new(2, &Rates { messages: one, control: one, new_channels: one }, Duration::from_secs(30))
    }

    fn channel(name: &str) -> Channel {
        Channel::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_user_and_an_address_are_two_even_if_they_are_spelled_alike() {
        let requests = requests();
        let (user, address) = (Whose::User("::1".into()), Whose::Address("::1".parse().unwrap()));
        assert!(requests.take_command(&user).is_ok() && requests.take_command(&address).is_ok());
        assert!(requests.take_command(&user).is_err());
        let rate = "1/m burst 1".parse().unwrap();
        assert!(requests.take_of_rule(&user, 1, &rate).is_ok() && requests.take_of_rule(&user, 2, &rate).is_ok());
        assert!(requests.take_of_rule(&user, 1, &rate).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_polls_opens_a_channel_once_and_names_that_are_made_up_are_bounded() {
        let requests = requests();
        let who = Whose::User("ann".into());
        for _ in 0..1000 {
            assert!(requests.take_new_channel(&who, &channel("a")).is_ok());
            advance(Duration::from_secs(2)).await;
        }
        while requests.take_new_channel(&who, &channel("b")).is_err() {
            advance(Duration::from_secs(60)).await;
        }
        assert!(requests.take_new_channel(&who, &channel("c")).is_err());
        advance(broker::UNUSED_TTL).await;
        let _ = requests.take_new_channel(&who, &channel("c"));
        assert!(requests.take_new_channel(&who, &channel("a")).is_err(), "by now Redis has forgotten it");
    }

    #[tokio::test(start_paused = true)]
    async fn the_application_s_yes_holds_for_the_same_question_and_for_a_while() {
        let requests = requests();
        assert!(requests.known(b"q").is_none());
        requests.remember(b"q", None);
        assert!(matches!(requests.known(b"q"), Some(None)) && requests.known(b"other").is_none());
        advance(Duration::from_secs(30)).await;
        assert!(requests.known(b"q").is_none());
        for question in 0..3 * ANSWERS_MAX {
            requests.remember(&question.to_le_bytes(), None);
        }
        assert!(requests.answers.lock().unwrap().len() <= ANSWERS_MAX);
        let asks_each = Requests { answers_kept: Duration::ZERO, ..requests };
        asks_each.remember(b"q", None);
        assert!(asks_each.known(b"q").is_none());
    }

    #[tokio::test]
    async fn one_too_many_finds_no_place_until_another_is_done() {
        let requests = requests();
        let (first, second) = (requests.enter().unwrap(), requests.enter().unwrap());
        assert!(requests.enter().is_none());
        drop(first);
        assert!(requests.enter().is_some());
        drop(second);
        requests.idle().await;
    }
}
