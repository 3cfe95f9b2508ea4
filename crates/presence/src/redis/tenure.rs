//! What a node is called in Redis: by its name at first, and by another one after each lease that ended.
//!
//! Whatever a node owns names the tenure it was written in, and only tenures are reaped. So a node that wakes up while it
//! is being reaped need not agree with anybody: what it writes now is not what is being removed.

/// Stands between a node's name and the number of its tenure; names of nodes do not hold it.
const MARK: char = '~';

/// A time during which a node's lease held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tenure {
    name: String,
    number: u32,
}

impl Tenure {
    /// The first one of a node has its name.
    pub(super) fn first(node: &str) -> Self {
        Self { name: node.to_owned(), number: 1 }
    }

    pub(super) fn next(&self) -> Self {
        let number = self.number.saturating_add(1);
        Self { name: format!("{}{MARK}{number}", owner_of(&self.name)), number }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The node whose tenure has this name. The scripts in lua/ do the same.
pub(super) fn owner_of(tenure: &str) -> &str {
    tenure.split_once(MARK).map_or(tenure, |(node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenure_has_a_name_and_all_have_one_owner() {
        let first = Tenure::first("n1.a");
        let second = first.next();
        let third = second.next();
        assert_eq!([first.name(), second.name(), third.name()], ["n1.a", "n1.a~2", "n1.a~3"]);
        assert_eq!([&first, &second, &third].map(|tenure| owner_of(tenure.name())), ["n1.a"; 3]);
    }
}
