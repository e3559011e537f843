//! Seeds for requests that name none.

/// Bits of a picked seed: so many a number of JavaScript holds exactly.
const BITS: u32 = 53;

/// A seed that no one can foresee, below 2^53.
pub fn pick() -> u64 {
    let mut bytes = [0; 8];
    let random = match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => web_time::SystemTime::now()
            .duration_since(web_time::SystemTime::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos() as u64),
    };
    random & ((1 << BITS) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn picked_seeds_differ_and_survive_javascript() {
        let seeds: BTreeSet<u64> = (0..1000).map(|_| pick()).collect();
        assert_eq!(seeds.len(), 1000);
        assert!(seeds.iter().all(|seed| *seed as f64 as u64 == *seed && *seed < 1 << 53));
        assert!(seeds.iter().any(|seed| *seed > 1 << 51), "all bits are used");
    }
}
