//! What Apple's devices send: kept once, forwarded once, and no way for a stranger into the shop's disk or into the outbox's way.
//! `tests/apple/*.json` are the samples of Apple's documentation.

// mod listener;
// mod relay;
mod store;

/// One of Apple's samples.
pub fn sample(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apple").join(name);
    std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}
