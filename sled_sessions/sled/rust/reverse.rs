//! The last pairs before a key, read forwards.
//!
//! At the lower end of a leaf sled's own way back looks for the leaf before it at a key that ends in four bytes of 255.
//! Where a whole leaf of keys lies above that, as with timestamps that are counted down, it looks a million times and
//! panics with all that the tree holds. Reading forwards knows no such place; all it takes is a place to begin at,
//! right before the end. That is guessed, then moved nearer or farther: by halving and doubling, for which keys are
//! fractions with digits to base 256, and by leaving out or going past what keys have in common, which may be long.

use std::ops::Bound::{Excluded, Included, Unbounded};

use sled::{IVec, Tree};

use crate::buffer::CHUNK_BYTES;

pub type Pair = (IVec, IVec);

/// After so many steps nearer it is looked whether the end has been reached, or nearly so.
const PROBES: usize = 8;

/// Enough to find one pair in few rounds.
const FEW: usize = 16;

/// So often a damaged page is passed by on the side of the end.
const MOST_FAILURES: usize = 64;

/// The last pair before `stop`; None is the end of the tree.
pub fn last(tree: &Tree, stop: Option<&[u8]>) -> sled::Result<Option<Pair>> {
    Ok(last_pairs(tree, &[], stop, FEW, Vec::new())?.pop())
}

/// The last pairs from `start` on and before `stop`, at least one if there is one, and `most` at most.
///
/// `guess` is where they may begin. A good one takes a single round; without one there are some tens. A page that
/// cannot be read is an error only if nothing can be read between it and `stop`.
pub fn last_pairs(
    tree: &Tree,
    start: &[u8],
    stop: Option<&[u8]>,
    most: usize,
    guess: Vec<u8>,
) -> sled::Result<Vec<Pair>> {
    let from = |low: &[u8]| tree.range::<&[u8], _>((Included(low), stop.map_or(Unbounded, Excluded)));
    let is_between = |key: &[u8]| key > start && stop.is_none_or(|stop| key < stop);
    let mut low = if is_between(&guess) { guess } else { start.to_vec() };
    let mut high = stop.map(<[u8]>::to_vec); // nothing lies between this and `stop`
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
            let nearer = if probe % 2 > 0 { past_common(&low, high.as_deref()) } else { None };
            let Some(nearer) = nearer.or_else(|| middle(&low, high.as_deref())) else { break };
            match from(&nearer).next() {
                None => high = Some(nearer),
                Some(pair) => {
                    low = pair.map_or(nearer, |(key, _)| key.to_vec()); // in a damaged page there is something, too
                    if most > FEW {
                        break; // or there might be far fewer than wanted
                    }
                }
            }
        }
    }
}

/// The first key behind all that begin as `low` does, up to half of what it has not in common with `high`.
fn past_common(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let common = common(low, high);
    let mut past = low[..(common + low.len()).div_ceil(2)].to_vec();
    while past.last() == Some(&u8::MAX) {
        past.pop();
    }
    *past.last_mut()? += 1;
    Some(past).filter(|past| past.as_slice() > low && high.is_none_or(|high| past.as_slice() < high))
}

/// Half of what two keys have in common, which comes before both.
fn before_common(low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
    low[..common(low, high) / 2].to_vec()
}

fn common(low: &[u8], high: Option<&[u8]>) -> usize {
    high.map_or(0, |high| low.iter().zip(high).take_while(|(one, other)| one == other).count())
}

/// The key halfway between two, of which the second is greater; None where there is none.
fn middle(low: &[u8], high: Option<&[u8]>) -> Option<Vec<u8>> {
    let digits = low.len().max(high.map_or(0, <[u8]>::len)) + 1;
    let (one, other) = (number(Some(low), digits), number(high, digits));
    let mut sum = vec![0; digits + 1];
    let mut carry = 0;
    for at in (0..=digits).rev() {
        carry += u16::from(one[at]) + u16::from(other[at]);
        sum[at] = carry as u8;
        carry >>= 8;
    }
    let mut rest = 0;
    for digit in &mut sum {
        rest = rest << 8 | u16::from(*digit);
        *digit = (rest / 2) as u8;
        rest %= 2;
    }
    Some(key(sum)).filter(|middle| middle.as_slice() > low && high.is_none_or(|high| middle.as_slice() < high))
}

/// The key that is as far before `low` as `high` is behind it; the first of all where there is none.
pub fn mirrored(low: &[u8], high: Option<&[u8]>) -> Vec<u8> {
    let digits = low.len().max(high.map_or(0, <[u8]>::len));
    let low = number(Some(low), digits);
    let distance = difference(&number(high, digits), &low);
    if distance < low { key(difference(&low, &distance)) } else { Vec::new() }
}

/// A key's digits, behind the one before the point; the end of a tree is 1.
fn number(key: Option<&[u8]>, digits: usize) -> Vec<u8> {
    let mut number = vec![0; digits + 1];
    match key {
        Some(key) => number[1..=key.len()].copy_from_slice(key),
        None => number[0] = 1,
    }
    number
}

fn key(number: Vec<u8>) -> Vec<u8> {
    let end = number.iter().rposition(|digit| *digit != 0).unwrap_or(0);
    number[1..=end].to_vec()
}

/// Of two numbers with as many digits, the first of which is not smaller.
fn difference(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut difference = vec![0; one.len()];
    let mut borrow = false;
    for at in (0..one.len()).rev() {
        let (digit, first) = one[at].overflowing_sub(other[at]);
        let (digit, second) = digit.overflowing_sub(borrow.into());
        difference[at] = digit;
        borrow = first || second;
    }
    difference
}
