//! The targets, one file each.

use crate::{Target, for_each_target};

macro_rules! declare {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// All of them.
        pub const ALL: &[Target] = &[
            $(Target { name: stringify!($name), check: $name::check, words: $name::WORDS, golden: $name::GOLDEN }),*
        ];
    };
}

for_each_target!(declare);

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}
