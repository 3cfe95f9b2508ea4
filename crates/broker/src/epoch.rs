//! Names for new lives of a channel's log.

/// 71 random bits: no two lives of one channel ever bear the same name.
pub(crate) fn random_epoch() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(12).collect()
}
