//! The allocator for the whole library.
//!
//! Each write to sled copies a page with all its keys, and another thread may free the copy. With glibc's allocator,
//! that is a considerable part of a write's cost.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
