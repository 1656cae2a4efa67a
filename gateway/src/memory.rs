//! Memory of this process, as the system counts it.

/// Resident memory now and at most, in bytes (`VmRSS` and `VmHWM`, proc(5)); `None` where the
/// system does not say.
pub(crate) fn resident() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some((bytes("VmRSS:")?, bytes("VmHWM:")?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_some_memory() {
        let (now, at_most) = super::resident().unwrap();
        assert!(now > 64 * 1024 && now <= at_most, "{now} {at_most}");
    }
}
