//! The folders that this process has open or is opening. No two databases share one, and a forked child learns from
//! here which files its parent has locked.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    error::{Error, Result},
    runtime::locks::{lock, try_lock},
};

static CLAIMS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

struct Entry {
    key: Key,
    /// The files and folders on which sled has locks.
    locked: Vec<PathBuf>,
    /// Why the folder could not be opened, if it stays locked nevertheless.
    broken: Option<String>,
}

/// What identifies a claimed folder.
#[derive(Clone, PartialEq)]
pub enum Key {
    Path(PathBuf),
    /// Device and inode, so that a backup in place of a broken folder can be opened.
    Inode(u64, u64),
}

/// A folder that only the owner of this may open.
pub struct Claim(Key);

impl Claim {
    pub fn begin(key: Key, folder: &Path, locked: impl IntoIterator<Item = &'static str>) -> Result<Self> {
        let mut claims = lock(&CLAIMS);
        match claims.iter().find(|entry| entry.key == key) {
            None => {
                let locked = locked.into_iter().map(|name| folder.join(name)).collect();
                claims.push(Entry { key: key.clone(), locked, broken: None });
                Ok(Claim(key))
            }
            Some(Entry { broken: Some(why), .. }) => Err(Error::Damaged(why.clone())),
            Some(_) => Err(Error::Locked(format!(
                "{} is open in this process already, or another thread is opening it: share that Db, or close it first",
                folder.display()
            ))),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&CLAIMS).retain(|entry| entry.key != self.0);
    }
}

/// Record why a folder that stays claimed cannot be opened.
pub fn mark_broken(key: &Key, why: String) {
    if let Some(entry) = lock(&CLAIMS).iter_mut().find(|entry| entry.key == *key) {
        entry.broken = Some(why);
    }
}

/// In a forked child, forget all claims and return the files that the parent has locked. Nothing if another thread held
/// our lock when the process was forked: in the child it stays locked for ever.
pub fn take_from_parent() -> Vec<PathBuf> {
    let entries = try_lock(&CLAIMS).map(|mut claims| std::mem::take(&mut *claims));
    entries.into_iter().flatten().flat_map(|entry| entry.locked).collect()
}
