//! Open databases, and everything around a call into sled: no GIL, no fork, no transaction, no panic.

mod allocator;
pub mod backwards;
pub mod claims;
pub mod closing;
pub mod engine;
pub mod events;
pub mod fork;
pub mod guard;
pub mod health;
pub mod ids;
pub mod locks;
mod monitor;
pub mod opening;
pub mod step_limit;

/// Reads and writes that go in chunks end a chunk early when its pairs exceed this many bytes.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The tree that the database itself is.
pub const DEFAULT_TREE: &[u8] = b"__sled__default";
