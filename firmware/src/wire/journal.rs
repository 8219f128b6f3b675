//! Journal record header.
