//! Places for connections: so many on the node, so many from one address and so many of one user; and a few for streams
//! that find none, in which they are told so. A place is given back when it is dropped.

use protocol::Text;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The node's places.
#[derive(Debug)]
pub struct Places {
    total: usize,
    free: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    by_address: Counts<IpAddr>,
    unfinished: Counts<IpAddr>,
    by_user: Counts<Text>,
}

/// How many one address and one user may have; none: no limit.
#[derive(Debug, Default, Clone, Copy)]
pub struct Most {
    /// Of one address (IPv6: one /64).
    pub per_address: Option<usize>,
    /// Of one address that are not upgraded yet.
    pub unfinished_per_address: Option<usize>,
    /// Of one user.
    pub per_user: Option<usize>,
}

/// One taken place.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    is_spare: bool,
    // Boxed: a place is a part of each connection, and most nodes have no such limits.
    address: Option<Box<Counted<IpAddr>>>,
    user: Option<Box<Counted<Text>>>,
}

/// A stream that has yet to shake hands.
#[derive(Debug, Default)]
pub struct Unfinished(#[expect(dead_code, reason = "held until it is dropped")] Option<Counted<IpAddr>>);

/// This address, or this user, has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Places {
    /// So many places, so many of them for one address or user, and so many beside them to be refused in.
    pub fn new(total: usize, most: Most, spare: usize) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let free = semaphore(total);
        Self {
            total: free.available_permits(),
            free,
            spare: semaphore(spare),
            by_address: Counts::new(most.per_address),
            unfinished: Counts::new(most.unfinished_per_address),
            by_user: Counts::new(most.per_user),
        }
    }

    /// A place, or a spare one; none when there are too many even to be refused.
    pub fn take(&self) -> Option<Place> {
        let place = |permit, is_spare| Place { _permit: permit, is_spare, address: None, user: None };
        let taken = |semaphore: &Arc<Semaphore>| semaphore.clone().try_acquire_owned().ok();
        taken(&self.free)
            .map(|permit| place(permit, false))
            .or_else(|| taken(&self.spare).map(|permit| place(permit, true)))
    }

    /// Notes that a stream from this address has yet to shake hands, until what is returned is dropped.
    ///
    /// # Errors
    /// When the address has as many of those as it may.
    pub fn begin(&self, address: IpAddr) -> Result<Unfinished, Full> {
        self.unfinished.take(network(address)).map(Unfinished)
    }

    /// A spare place in exchange for one that its address may not have; none when there is none.
    pub fn take_spare(&self, place: Place) -> Option<Place> {
        drop(place);
        let permit = self.spare.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit, is_spare: true, address: None, user: None })
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Notes from where its connection comes, now that the address is known.
    ///
    /// # Errors
    /// When the address has as many as it may.
    pub fn assign(&self, place: &mut Place, address: IpAddr) -> Result<(), Full> {
        // A stream may ask more than once, until it is upgraded.
        place.address = None;
        place.address = self.by_address.take(network(address))?.map(Box::new);
        Ok(())
    }

    /// Notes whose connection it is, now that the user is known.
    ///
    /// # Errors
    /// When the user has as many as he may.
    pub fn assign_user(&self, place: &mut Place, user: &Text) -> Result<(), Full> {
        if place.user.as_ref().is_some_and(|counted| counted.key == *user) {
            return Ok(());
        }
        place.user = self.by_user.take(user.clone())?.map(Box::new);
        Ok(())
    }
}

impl Place {
    /// Whether it is only there to be refused in.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }
}

/// What counts as one address: one host has many of IPv6, and the /64 is what is given to it.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Connections by key, each no more than so many; nothing is counted where there is no limit.
#[derive(Debug)]
struct Counts<K> {
    max: Option<usize>,
    by_key: Shared<K>,
}

type Shared<K> = Arc<Mutex<HashMap<K, usize>>>;

/// One of those, until it is dropped.
#[derive(Debug)]
struct Counted<K: Hash + Eq> {
    key: K,
    by_key: Shared<K>,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    fn new(max: Option<usize>) -> Self {
        Self { max, by_key: Arc::default() }
    }

    fn take(&self, key: K) -> Result<Option<Counted<K>>, Full> {
        let Some(max) = self.max else { return Ok(None) };
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_key.get(&key).copied().unwrap_or_default();
        if count >= max {
            return Err(Full);
        }
        by_key.insert(key.clone(), count + 1);
        drop(by_key);
        Ok(Some(Counted { key, by_key: self.by_key.clone() }))
    }
}

impl<K: Hash + Eq> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let places = Places::new(2, Most::default(), 0);
        let (a, b) = (places.take(), places.take());
        assert!(a.is_some() && b.is_some() && places.take().is_none());
        drop(a);
        let c = places.take();
        assert!(c.is_some() && places.take().is_none());
        drop((b, c));
        assert!(places.take().is_some());
    }

    #[test]
    fn whoever_finds_no_place_is_refused_in_a_spare_one_while_there_are_some() {
        let places = Places::new(1, Most::default(), 1);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(!first.is_spare() && second.is_spare() && places.take().is_none());
        drop(first);
        assert!(!places.take().unwrap().is_spare(), "one that has become free comes first");
        drop(second);
        assert!(!places.take().unwrap().is_spare());
    }

    #[test]
    fn an_address_has_only_so_many() {
        let places = Places::new(100, Most { per_address: Some(1), ..Most::default() }, 0);
        let take = |address: &str| {
            let mut place = places.take().unwrap();
            places.assign(&mut place, address.parse().unwrap()).map(|()| place)
        };
        let mut again = take("192.0.2.9").unwrap();
        assert_eq!(places.assign(&mut again, "192.0.2.9".parse().unwrap()), Ok(()), "one place counts once");
        drop(again);
        assert!(take("192.0.2.9").is_ok());
        let first = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").err(), Some(Full));
        assert_eq!(take("::ffff:192.0.2.1").err(), Some(Full), "the same address in another form");
        assert!(take("192.0.2.2").is_ok());
        let v6 = take("2001:db8::1").unwrap();
        assert_eq!(take("2001:db8::2").err(), Some(Full), "the same /64");
        drop((first, v6));
        assert!(take("192.0.2.1").is_ok());
    }

    #[test]
    fn a_user_has_only_so_many_and_a_new_token_of_his_takes_no_further_one() {
        let places = Places::new(100, Most { per_user: Some(2), ..Most::default() }, 0);
        let (ann, bob) = (Text::from("ann"), Text::from("bob"));
        let mut own = [(); 3].map(|()| places.take().unwrap());
        let [first, second, third] = &mut own;
        assert!(places.assign_user(first, &ann).is_ok() && places.assign_user(second, &ann).is_ok());
        assert_eq!(places.assign_user(second, &ann), Ok(()), "one place counts once");
        assert_eq!(places.assign_user(third, &ann), Err(Full));
        assert_eq!(places.assign_user(third, &bob), Ok(()));
        drop(own);
        assert!(places.by_user.by_key.lock().unwrap().is_empty());
    }

    #[test]
    fn whoever_may_have_no_place_gives_it_back_for_a_spare_one() {
        let places = Places::new(1, Most::default(), 1);
        let spare = places.take().and_then(|place| places.take_spare(place)).unwrap();
        assert!(spare.is_spare());
        let place = places.take().unwrap();
        assert!(!place.is_spare() && places.take_spare(place).is_none(), "there is one");
    }
}
