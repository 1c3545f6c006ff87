//! Why a request is not answered, in the shape clients of this API know.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A request that is refused or failed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Failure {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    /// The field that is wrong, if one is.
    field: Option<String>,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code: None,
            field: None,
            message: message.into(),
        }
    }

    fn with_code(self, code: &'static str) -> Self {
        Self {
            code: Some(code),
            ..self
        }
    }

    /// A body that makes no sense.
    pub(super) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A value of `field` that does not do.
    pub(super) fn field(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::body(message)
        }
    }

    /// A field that is not known, or that this server cannot honour.
    pub(super) fn unknown_field(field: &str, message: impl Into<String>) -> Self {
        Self::field(field, message).with_code("unknown_parameter")
    }

    /// A text of more tokens than the model takes.
    pub(super) fn too_long(field: &str, message: impl Into<String>) -> Self {
        Self::field(field, message).with_code("context_length_exceeded")
    }

    /// More bytes than a body may have.
    pub(super) fn too_large(most: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            format!("expected a body of at most {most} bytes"),
        )
    }

    /// No key, or not the one.
    pub(super) fn key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            "expected the key of this server as `Authorization: Bearer KEY`",
        )
        .with_code("invalid_api_key")
    }

    /// A page of another site that makes a browser ask.
    pub(super) fn origin() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            "pages of other sites are not answered",
        )
    }

    /// A model that is not the one served.
    pub(super) fn model(found: &str, served: &str) -> Self {
        Self {
            field: Some("model".to_owned()),
            ..Self::new(
                StatusCode::NOT_FOUND,
                "not_found_error",
                format!("expected the model `{served}`, found `{found}`"),
            )
            .with_code("model_not_found")
        }
    }

    /// No such path.
    pub(super) fn path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found_error",
            format!("there is no `{path}`"),
        )
    }

    /// A path that is asked for in another way.
    pub(super) fn method(found: &str, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            format!("`{path}` does not take {found}"),
        )
    }

    /// As many requests wait as may.
    pub(super) fn full(most: usize) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limit_error",
            format!("{most} texts wait already: try again later"),
        )
        .with_code("queue_full")
    }

    /// The server is going away.
    pub(super) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the server is stopping",
        )
    }

    /// The model failed.
    pub(super) fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// As the API writes it.
    pub(super) fn to_json(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.field,
            "code": self.code,
        }})
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            // A browser asks for a password then, which is the key.
            let ask = HeaderValue::from_static("Basic realm=\"quench\"");
            headers.insert(header::WWW_AUTHENTICATE, ask);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
