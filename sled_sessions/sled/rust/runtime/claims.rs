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

static CLAIMS: Mutex<Vec<ClaimedFolder>> = Mutex::new(Vec::new());

struct ClaimedFolder {
    key: FolderKey,
    /// The files and folders on which sled has locks.
    locked: Vec<PathBuf>,
    /// Why the folder could not be opened, if it stays locked nevertheless.
    broken: Option<String>,
}

/// What identifies a claimed folder.
#[derive(Clone, PartialEq)]
pub enum FolderKey {
    Path(PathBuf),
    /// Device and inode, so that a backup in place of a broken folder can be opened.
    Inode(u64, u64),
}

/// A folder that only the owner of this may open.
pub struct Claim(FolderKey);

impl Claim {
    pub fn begin(key: FolderKey, folder: &Path, locked: [&str; 2]) -> Result<Self> {
        let mut claims = lock(&CLAIMS);
        match claims.iter().find(|claimed| claimed.key == key) {
            None => {
                let locked = locked.map(|name| folder.join(name)).into();
                claims.push(ClaimedFolder { key: key.clone(), locked, broken: None });
                Ok(Claim(key))
            }
            Some(ClaimedFolder { broken: Some(why), .. }) => Err(Error::Damaged(why.clone())),
            Some(_) => {
                let list = match key {
                    FolderKey::Path(_) => " (sled.open_databases() lists the open ones)",
                    FolderKey::Inode(..) => "",
                };
                Err(Error::Locked(format!(
                    "{} is open in this process already, or another thread is opening it: share that Db, or close it \
                     first{list}",
                    folder.display()
                )))
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&CLAIMS).retain(|claimed| claimed.key != self.0);
    }
}

/// Record why a folder that stays claimed cannot be opened.
pub fn mark_broken(key: &FolderKey, why: String) {
    if let Some(claimed) = lock(&CLAIMS).iter_mut().find(|claimed| claimed.key == *key) {
        claimed.broken = Some(why);
    }
}

/// In a forked child, forget all claims and return the files that the parent has locked. Nothing if another thread held
/// our lock when the process was forked: in the child it stays locked for ever.
pub fn take_from_parent() -> Vec<PathBuf> {
    let claims = try_lock(&CLAIMS).map(|mut claims| std::mem::take(&mut *claims)).unwrap_or_default();
    claims.into_iter().flat_map(|claimed| claimed.locked).collect()
}
