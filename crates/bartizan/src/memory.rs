//! The allocator, and pages of the usual size.
//!
//! Where the system gives every process huge pages unasked (`transparent_hugepage/enabled` is `always`), a touched byte
//! costs two megabytes: an idle gateway took 24 MB instead of 8, and one with a thousand routes 41 instead of 25, while
//! a request cost the same.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets the allocator give memory that is free back to the system. It does so a while after something large was freed, but
/// only when something large is freed again; so a large block, of which no page is ever touched, is taken and freed.
pub(crate) fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(PROD_BYTES)));
}

/// 64 MiB of addresses and no memory: more than what the allocator serves from its pages.
const PROD_BYTES: usize = 64 << 20;

/// Turns huge pages off for this process. Called first, because it does not undo what was mapped before.
#[cfg(target_os = "linux")]
pub(crate) fn use_usual_pages() {
    // A system that refuses only costs memory.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Other systems do not give huge pages unasked.
#[cfg(not(target_os = "linux"))]
pub(crate) fn use_usual_pages() {}
