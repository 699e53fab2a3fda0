//! The memory allocator: what a burst of work took goes back to the machine soon after.
//!
//! Rendering a large chart takes tens of megabytes for a moment. The C library's allocator keeps them, which doubles what an
//! idle platform occupies; jemalloc gives unused pages back after a delay, from a thread of its own where the process is idle.
#![expect(unsafe_code, reason = "jemalloc reads its settings from an exported symbol")]

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Pages unused for a second go back. Two arenas, because each keeps unused pages of its own.
// SAFETY: the name is the one under which jemalloc looks for a pointer to a C string, and this is one.
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static SETTINGS: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

/// Starts jemalloc's own thread. Not for monitors, which must have one thread.
pub(crate) fn return_memory_in_the_background() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::debug!(%error, "unused memory is given back only while there is work");
    }
}
