//! What reading costs in memory: a small multiple of what is read, whoever wrote it.

/// Reads, and panics if that ever held more than `multiple` times the input's length and `base_bytes` at one moment.
pub fn within<T>(input_bytes: usize, multiple: u64, base_bytes: u64, read: impl FnOnce() -> T) -> T {
    let mut result = None;
    let cost = allocation_counter::measure(|| result = Some(read()));
    let allowed = base_bytes + multiple * input_bytes as u64;
    assert!(
        cost.bytes_max <= allowed,
        "reading {input_bytes} bytes held {} at one moment: {allowed} may be",
        cost.bytes_max
    );
    let Some(result) = result else { unreachable!("measured and not run") };
    result
}

#[cfg(test)]
mod tests {
    #[test]
    #[should_panic(expected = "reading 10 bytes held 1000 at one moment")]
    fn who_holds_more_is_caught() {
        super::within(10, 4, 100, || drop(std::hint::black_box(vec![0u8; 1_000])));
    }
}
