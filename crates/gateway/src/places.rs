//! Places for connections: so many on the node, and so many from one address; and a few for streams that find none, in
//! which they are told so. A place is given back when it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections by address.
type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The node's places.
#[derive(Debug)]
pub struct Places {
    total: usize,
    free: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    per_address_max: Option<usize>,
    by_address: Counts,
}

/// One taken place.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    is_spare: bool,
    address: Option<(IpAddr, Counts)>,
}

/// This address has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub struct AddressFull;

impl Places {
    /// So many places, so many of them for one address, and so many beside them to be refused in.
    pub fn new(total: usize, per_address_max: Option<usize>, spare: usize) -> Self {
        let semaphore = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let free = semaphore(total);
        Self {
            total: free.available_permits(),
            free,
            spare: semaphore(spare),
            per_address_max,
            by_address: Arc::default(),
        }
    }

    /// A place, or a spare one; none when there are too many even to be refused.
    pub fn take(&self) -> Option<Place> {
        let place = |permit, is_spare| Place { _permit: permit, is_spare, address: None };
        let taken = |semaphore: &Arc<Semaphore>| semaphore.clone().try_acquire_owned().ok();
        taken(&self.free)
            .map(|permit| place(permit, false))
            .or_else(|| taken(&self.spare).map(|permit| place(permit, true)))
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Whether nobody has one.
    pub fn are_free(&self) -> bool {
        self.free.available_permits() == self.total
    }

    /// Notes whose place it is, now that the address is known.
    ///
    /// # Errors
    /// When the address has as many as it may.
    pub fn assign(&self, place: &mut Place, address: IpAddr) -> Result<(), AddressFull> {
        let Some(max) = self.per_address_max else { return Ok(()) };
        // One host has many addresses of IPv6; the /64 is what is given to it.
        let address = network(address);
        // A stream may ask more than once, until it is upgraded.
        place.release_address();
        let mut counts = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return Err(AddressFull);
        }
        *count += 1;
        place.address = Some((address, self.by_address.clone()));
        Ok(())
    }
}

impl Place {
    /// Whether it is only there to be refused in.
    pub fn is_spare(&self) -> bool {
        self.is_spare
    }

    fn release_address(&mut self) {
        let Some((address, counts)) = self.address.take() else { return };
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.release_address();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let places = Places::new(2, None, 0);
        let (a, b) = (places.take(), places.take());
        assert!(a.is_some() && b.is_some() && places.take().is_none());
        drop(a);
        assert!(!places.are_free() && places.take().is_some());
        drop(b);
        assert!(places.are_free());
    }

    #[test]
    fn whoever_finds_no_place_is_refused_in_a_spare_one_while_there_are_some() {
        let places = Places::new(1, None, 1);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        assert!(!first.is_spare() && second.is_spare() && places.take().is_none());
        drop(first);
        assert!(!places.take().unwrap().is_spare(), "one that has become free comes first");
        drop(second);
        assert!(places.are_free());
    }

    #[test]
    fn an_address_has_only_so_many() {
        let places = Places::new(100, Some(1), 0);
        let take = |address: &str| {
            let mut place = places.take().unwrap();
            places.assign(&mut place, address.parse().unwrap()).map(|()| place)
        };
        let mut again = take("192.0.2.9").unwrap();
        assert_eq!(places.assign(&mut again, "192.0.2.9".parse().unwrap()), Ok(()), "one place counts once");
        drop(again);
        assert!(take("192.0.2.9").is_ok());
        let first = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").err(), Some(AddressFull));
        assert_eq!(take("::ffff:192.0.2.1").err(), Some(AddressFull), "the same address in another form");
        assert!(take("192.0.2.2").is_ok());
        let v6 = take("2001:db8::1").unwrap();
        assert_eq!(take("2001:db8::2").err(), Some(AddressFull), "the same /64");
        drop((first, v6));
        assert!(take("192.0.2.1").is_ok());
    }
}
