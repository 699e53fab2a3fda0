//! The allocator with the settings of the `mainstay` binary, so that memory is measured as it is there.
#![expect(unsafe_code, reason = "jemalloc reads its settings from an exported symbol")]

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

// SAFETY: the name is the one under which jemalloc looks for a pointer to a C string, and this is one.
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static SETTINGS: &[u8; 47] = b"narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
