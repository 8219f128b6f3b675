//! What a run leaves behind: figures as JSON and one HTML page with pictures.

pub(crate) mod crash;
pub(crate) mod figures;
pub(crate) mod page;
pub(crate) mod plot;
