//! The folders that this process has open or is opening. No two databases share one, and a forked child learns from
//! here which files its parent has locked.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    error::{Error, Failure, Result},
    runtime::locks::{lock, try_lock},
};

static CLAIMS: Mutex<Vec<ClaimedFolder>> = Mutex::new(Vec::new());

struct ClaimedFolder {
    key: FolderKey,
    /// The files and folders on which sled has locks.
    locked: Vec<PathBuf>,
    /// Why the folder cannot be opened, if it stays claimed nevertheless.
    refusal: Option<Refusal>,
}

type Refusal = Box<dyn Fn() -> Error + Send>;

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
                claims.push(ClaimedFolder { key: key.clone(), locked, refusal: None });
                Ok(Claim(key))
            }
            Some(ClaimedFolder { refusal: Some(error), .. }) => Err(error()),
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

    /// Keep the folder claimed for the rest of the process: its old threads may still write.
    pub fn keep(self, why: Failure) {
        refuse(&self.0, move || Error::Failed(why.clone()));
        std::mem::forget(self);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&CLAIMS).retain(|claimed| claimed.key != self.0);
    }
}

/// Record why a folder that stays claimed cannot be opened.
pub fn refuse(key: &FolderKey, error: impl Fn() -> Error + Send + 'static) {
    if let Some(claimed) = lock(&CLAIMS).iter_mut().find(|claimed| claimed.key == *key) {
        claimed.refusal = Some(Box::new(error));
    }
}

/// In a forked child, forget all claims and return the files that the parent has locked. Nothing if another thread held
/// our lock when the process was forked: in the child it stays locked for ever.
pub fn take_from_parent() -> Vec<PathBuf> {
    let claims = try_lock(&CLAIMS).map(|mut claims| std::mem::take(&mut *claims)).unwrap_or_default();
    claims.into_iter().flat_map(|claimed| claimed.locked).collect()
}
