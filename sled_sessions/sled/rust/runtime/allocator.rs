//! The allocator for the whole library.
//!
//! Each write to sled copies a page with all its keys, and another thread may free the copy. With glibc's allocator,
//! that is a considerable part of a write's cost.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Return unused memory to the system. mimalloc does so only while it allocates, so the memory of a closed database
/// would otherwise stay with a process that goes idle. Takes a few milliseconds for each 100 MB.
pub fn release_unused() {
    mi_collect(true);
}

// mimalloc's crate exports only the allocator itself.
#[expect(unsafe_code, reason = "the compiler cannot check a declaration of a C function")]
// SAFETY: `void mi_collect(bool force)` in mimalloc.h. It takes nothing that could be invalid, any thread may call it at
// any time, and it leaves memory that is in use alone.
unsafe extern "C" {
    safe fn mi_collect(force: bool);
}
