//! Replay against damaged and forged files: no key is needed for that.
