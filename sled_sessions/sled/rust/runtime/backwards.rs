//! Reading backwards.
//!
//! sled's own reverse iteration is fast, and right where it ends. But it searches for the leaf before a leaf at a key
//! that ends in four bytes of 255. If that leaf begins after such a key, as with timestamps that count down, sled
//! retries a million times, for seconds, and panics with a message that lists the whole tree. So its steps are limited.
//!
//! Beyond the limit, and for many pairs, this reads forwards, which has no such case but needs a key shortly before the
//! end to begin at. It guesses one, then moves it closer or farther: by halving and doubling, with keys as fractions to
//! base 256, and by skipping or passing a common prefix, which may be long.

use std::ops::Bound::{Excluded, Included, Unbounded};

use sled::{IVec, Tree};

use crate::runtime::{CHUNK_BYTES, step_limit::limited};

pub type Pair = (IVec, IVec);

/// How many messages sled may log in one search. A successful one logs some tens.
const STEPS: u32 = 300;

/// The number of steps towards the end before reading on to see whether it is near.
const PROBES: usize = 8;

/// Enough pairs to find the last one in few rounds, and few enough for sled's own way.
const FEW: usize = 16;

/// How many times to retry closer to the end after reaching a damaged page.
const MOST_FAILURES: usize = 64;

/// The last pair before `stop`, or of the whole tree.
pub fn last(tree: &Tree, stop: Option<&[u8]>) -> sled::Result<Option<Pair>> {
    match sleds_last_pairs(tree, &[], stop, 1) {
        Some(mut pairs) => Ok(pairs.pop()),
        None => Ok(forwards(tree, &[], stop, FEW, Vec::new())?.pop()),
    }
}

/// The last pairs from `start` up to but without `stop`: at least one if there are any, and at most `most`.
///
/// They may begin at `guess`.
pub fn last_pairs(
    tree: &Tree,
    start: &[u8],
    stop: Option<&[u8]>,
    most: usize,
    guess: Vec<u8>,
) -> sled::Result<Vec<Pair>> {
    let own = if most <= FEW { sleds_last_pairs(tree, start, stop, most) } else { None };
    own.map_or_else(|| forwards(tree, start, stop, most, guess), Ok)
}

/// The last pairs, found by sled; None if it fails or takes too long.
fn sleds_last_pairs(tree: &Tree, start: &[u8], stop: Option<&[u8]>, most: usize) -> Option<Vec<Pair>> {
    let range = (Included(start), stop.map_or(Unbounded, Excluded));
    let mut bytes = 0;
    let mut pairs = limited(STEPS, || {
        tree.range::<&[u8], _>(range)
            .rev()
            .take(most)
            .take_while(|pair| {
                let fits = bytes <= CHUNK_BYTES;
                bytes += pair.as_ref().map_or(0, |(key, value)| key.len() + value.len());
                fits
            })
            .collect::<sled::Result<Vec<_>>>()
    })?
    .ok()?;
    pairs.reverse();
    Some(pairs)
}

/// The last pairs, found by reading forwards. With a good guess this takes one round, otherwise some tens. An
/// unreadable page is an error only if nothing between it and `stop` can be read.
fn forwards(tree: &Tree, start: &[u8], stop: Option<&[u8]>, most: usize, guess: Vec<u8>) -> sled::Result<Vec<Pair>> {
    let from = |low: &[u8]| tree.range::<&[u8], _>((Included(low), stop.map_or(Unbounded, Excluded)));
    let is_between = |key: &[u8]| key > start && stop.is_none_or(|stop| key < stop);
    let mut low = if is_between(&guess) { guess } else { start.to_vec() };
    let mut high = stop.map(<[u8]>::to_vec); // there are no keys between this and `stop`
    let (mut steps_back, mut failures) = (0, 0);
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
            if found.len() > most || (found.len() > 1 && bytes > CHUNK_BYTES) {
                are_all = false;
                break;
            }
        }
        if are_all && (!found.is_empty() || low.as_slice() <= start) {
            return Ok(found);
        }
        if are_all {
            steps_back += 1;
            let farther = if steps_back % 4 > 0 { mirrored(&low, stop) } else { before_common(&low, stop) };
            let farther = if farther.as_slice() > start && farther < low { farther } else { start.to_vec() };
            high = Some(std::mem::replace(&mut low, farther));
            continue;
        }
        if let Some((seen, _)) = found.pop() {
            low = seen.to_vec();
        }
        for probe in 0..PROBES {
            let closer = if probe % 2 > 0 { past_common(&low, high.as_deref()) } else { None };
            let Some(closer) = closer.or_else(|| middle(&low, high.as_deref())) else { break };
            match from(&closer).next() {
                None => high = Some(closer),
                Some(pair) => {
                    low = pair.map_or(closer, |(key, _)| key.to_vec()); // a damaged page has keys too
                    if most > FEW {
                        break; // a closer one might leave far fewer pairs than wanted
                    }
                }
            }
        }
    }
}

/// The first key after all those that begin as `low` does, up to half of what it does not share with `high`.
fn past_common(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let common = common(low, high);
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

/// Half of the prefix that two keys share; it sorts before both.
fn before_common(low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
    low[..common(low, high) / 2].to_vec()
}

fn common(low: &[u8], high: Option<&[u8]>) -> usize {
    high.map_or(0, |high| low.iter().zip(high).take_while(|(one, other)| one == other).count())
}

/// The key halfway between two, the second of which is greater; None if there is none.
fn middle(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let (low_digits, high_digits) = fractions(low, high);
    // Half of a digit is 128 times the digit one place to the right.
    let halves = low_digits.iter().zip(&high_digits).map(|(low, high)| (low + high) * 128);
    let middle = key([0].into_iter().chain(halves).collect())?;
    Some(middle).filter(|middle| middle.as_slice() > low && high.is_none_or(|high| middle.as_slice() < high))
}

/// The key as far before `low` as `high` is after it; the first key of all if that is out of range.
pub fn mirrored(low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
    let (low, high) = fractions(low, high);
    key(low.iter().zip(&high).map(|(low, high)| 2 * low - high).collect()).unwrap_or_default()
}

/// Two keys as fractions with as many digits: one before the point, then the bytes. The end of a tree is 1.
fn fractions(low: &[u8], high: Option<&[u8]>) -> (Vec<i32>, Vec<i32>) {
    let length = 1 + low.len().max(high.map_or(0, <[u8]>::len));
    let digits = |whole: i32, key: &[u8]| {
        let mut digits: Vec<_> = [whole].into_iter().chain(key.iter().map(|byte| i32::from(*byte))).collect();
        digits.resize(length, 0);
        digits
    };
    (digits(0, low), high.map_or_else(|| digits(1, &[]), |high| digits(0, high)))
}

/// The key of a fraction whose digits may be out of range; None if it is negative.
fn key(digits: Vec<i32>) -> Option<Vec<u8>> {
    let mut carry = 0;
    let mut bytes: Vec<u8> = digits
        .iter()
        .rev()
        .map(|digit| {
            carry += digit;
            let byte = carry.rem_euclid(256) as u8;
            carry = carry.div_euclid(256);
            byte
        })
        .skip_while(|byte| *byte == 0)
        .collect();
    bytes.reverse();
    (carry >= 0).then(|| bytes.split_off(bytes.len().min(1)))
}

#[cfg(test)]
#[path = "../../../../tests/engine/rust/backwards.rs"]
mod tests;
