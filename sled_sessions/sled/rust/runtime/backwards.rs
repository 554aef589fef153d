//! Reading backwards.
//!
//! sled's own reverse iteration is fast, and right where it ends. But it searches for the leaf before a leaf at a key
//! that ends in four bytes of 255. If that leaf begins after such a key, as with timestamps that count down, sled
//! retries a million times, for seconds, and panics with a message that lists the whole tree. So its steps are limited.
//!
//! Beyond the limit this finds the end of a range by reading forwards, which has no such case: it moves closer to the
//! end by halving, with keys as fractions to base 256, and by skipping common prefixes, which may be long.

use std::ops::Bound::{Excluded, Included, Unbounded};

use sled::{IVec, Tree};

use crate::runtime::{CHUNK_BYTES, step_limit::limited};

pub type Pair = (IVec, IVec);

/// How many messages sled may log before it returns a pair. Some tens are usual.
const STEPS: u32 = 300;

/// The number of steps towards the end before reading on to see whether it is near.
const PROBES: usize = 8;

/// How many pairs from the end to find at once.
const FEW: usize = 16;

/// How many times to retry closer to the end after reaching a damaged page.
const MOST_FAILURES: usize = 64;

/// The last pair before `stop`, or of the whole tree.
pub fn last(tree: &Tree, stop: Option<&[u8]>) -> sled::Result<Option<Pair>> {
    Ok(last_pairs(tree, &[], stop, 1)?.into_iter().next())
}

/// The pairs from `start` up to but without `stop`, backwards from the last one: at least one if there are any.
///
/// An unreadable page is an error only if nothing between it and `stop` can be read.
pub fn last_pairs(tree: &Tree, start: &[u8], stop: Option<&[u8]>, most: usize) -> sled::Result<Vec<Pair>> {
    let mut range = tree.range::<&[u8], _>((Included(start), stop.map_or(Unbounded, Excluded)));
    let (mut pairs, mut bytes) = (Vec::new(), 0);
    while pairs.len() < most && bytes <= CHUNK_BYTES {
        match limited(STEPS, || range.next_back()) {
            Some(Some(Ok(pair))) => {
                bytes += pair.0.len() + pair.1.len();
                pairs.push(pair);
            }
            Some(None) => break,
            _ if pairs.is_empty() => return search_forwards(tree, start, stop),
            _ => break,
        }
    }
    Ok(pairs)
}

/// The same, by reading forwards.
fn search_forwards(tree: &Tree, start: &[u8], stop: Option<&[u8]>) -> sled::Result<Vec<Pair>> {
    let from = |low: &[u8]| tree.range::<&[u8], _>((Included(low), stop.map_or(Unbounded, Excluded)));
    let mut low = start.to_vec();
    let mut high = stop.map(<[u8]>::to_vec); // there are no keys between this and `stop`
    let mut failures = 0;
    loop {
        let (mut found, mut bytes, mut are_all) = (Vec::new(), 0, true);
        for pair in from(&low) {
            match pair {
                Ok((key, value)) => {
                    bytes += key.len() + value.len();
                    found.push((key, value));
                }
                Err(error) if failures == MOST_FAILURES => return Err(error),
                Err(_) => {
                    failures += 1;
                    are_all = false;
                    break;
                }
            }
            if found.len() > FEW || (found.len() > 1 && bytes > CHUNK_BYTES) {
                are_all = false;
                break;
            }
        }
        if are_all && found.is_empty() && low.as_slice() > start {
            (low, high) = (start.to_vec(), stop.map(<[u8]>::to_vec)); // another thread has removed the last keys
            continue;
        }
        if are_all {
            found.reverse();
            return Ok(found);
        }
        if let Some((seen, _)) = found.pop() {
            low = seen.to_vec();
        }
        for probe in 0..PROBES {
            let closer = if probe % 2 > 0 { past_common(&low, high.as_deref()) } else { None };
            let Some(closer) = closer.or_else(|| middle(&low, high.as_deref())) else { break };
            match from(&closer).next() {
                None => high = Some(closer),
                Some(pair) => low = pair.map_or(closer, |(key, _)| key.to_vec()), // a damaged page has keys too
            }
        }
    }
}

/// The first key after all those that begin as `low` does, up to half of what it does not share with `high`.
fn past_common(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let common = high.map_or(0, |high| low.iter().zip(high).take_while(|(one, other)| one == other).count());
    let past = after_prefix(&low[..(common + low.len()).div_ceil(2)])?;
    Some(past).filter(|past| past.as_slice() > low && high.is_none_or(|high| past.as_slice() < high))
}

/// The first key after all those with this prefix; None if they are the last.
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let length = prefix.iter().rposition(|byte| *byte != u8::MAX)? + 1;
    let mut after = prefix[..length].to_vec();
    after[length - 1] += 1;
    Some(after)
}

/// The key halfway between two, the second of which is greater; None if there is none.
fn middle(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let digit = |key: &[u8], at: usize| key.get(at).map_or(0, |byte| u32::from(*byte));
    let sum = |at: usize| digit(low, at) + high.map_or(0, |high| digit(high, at));
    let mut middle = vec![0; low.len().max(high.map_or(0, <[u8]>::len)) + 1];
    let mut carry = 0;
    for at in (0..middle.len()).rev() {
        // Half of a digit is 128 times the digit one place to the right. The end of a tree is 1, before all digits.
        carry += 128 * at.checked_sub(1).map_or(high.is_none().into(), sum);
        middle[at] = carry as u8;
        carry >>= 8;
    }
    middle.truncate(middle.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1));
    Some(middle).filter(|middle| middle.as_slice() > low && high.is_none_or(|high| middle.as_slice() < high))
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/backwards.rs"]
mod tests;
