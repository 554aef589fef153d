//! Where the memory of sled comes from.
//!
//! Each write to sled makes a copy of a page with all its keys, and another thread may free it. glibc's allocator makes
//! that a good part of the cost.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
