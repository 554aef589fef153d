//! The other format: the part of sled 1.0 needed to move whole trees between its folders and those of 0.34.

pub mod database;
mod metadata;

use std::path::Path;

use crate::error::Error;

/// The error for a database of sled 1.0 that is damaged; it cannot be salvaged.
fn damaged_v1(folder: &Path, what: &str) -> Error {
    Error::Damaged(format!("{} is damaged: {what}. Restore a backup", folder.display()))
}
