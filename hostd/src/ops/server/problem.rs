//! What a socket answers when it refuses: problem JSON (RFC 9457) with a stable code.

use crate::ops::operator::CommandRefused;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal; nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Word for programs; it stays when the text is mended.
    pub code: &'static str,
    /// For people.
    pub title: String,
}

impl Problem {
    /// A refusal with a status, a code and a text.
    pub fn new(status: u16, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
            code,
            title: title.into(),
        }
    }

    /// The box stops, or does not come to it.
    #[must_use]
    pub fn gone() -> Self {
        Self::new(503, "stopping", "the daemon is stopping")
    }

    /// As it is sent.
    #[must_use]
    pub fn body(&self) -> Value {
        json!({
            "type": format!("urn:deltabox:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "code": self.code,
        })
    }
}

impl From<CommandRefused> for Problem {
    fn from(why: CommandRefused) -> Self {
        Self::new(why.status(), why.code(), why.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = [("content-type", "application/problem+json")];
        (self.status, kind, Json(self.body())).into_response()
    }
}
