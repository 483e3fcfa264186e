//! The enrolment token as text: `nk1.` and the base64url of a small JSON object.
//!
//! Invariant: a token that parses names an HTTPS host, the pin of its certificate and a full secret. Errors never
//! repeat the text, because it is a secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::bytes::TokenSecret;
use crate::id::SpkiPin;

const PREFIX: &str = "nk1.";

/// Longest token text taken; real ones have about 250 characters.
pub const TOKEN_CHARS_MAX: usize = 4096;

/// What a new machine needs to reach its host for the first time and be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Address of the host, `https://host[:port]` without a path.
    pub host_url: String,
    /// The host's certificate, trusted for the first contact.
    pub pin: SpkiPin,
    /// What the host compares (hashed).
    pub secret: TokenSecret,
}

/// Why a text is no enrolment token; each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing but white space.
    #[error("the enrolment token is empty: paste the line that `nightkeep-host token create` printed")]
    Empty,
    /// Starts with something else.
    #[error("this is not an enrolment token: it must start with \"nk1.\"; copy the whole line from the console")]
    WrongPrefix,
    /// A newer form than this build reads.
    #[error("the enrolment token has the newer form {found:?}: update nightkeep-agent, it reads \"nk1.\"")]
    NewerForm {
        /// The prefix found, such as `nk2.`.
        found: String,
    },
    /// Longer than any real token.
    #[error("the enrolment token is longer than {TOKEN_CHARS_MAX} characters: it is not a token")]
    TooLong,
    /// Not base64url, or cut off.
    #[error("the enrolment token is damaged or cut off: copy it again, whole and on one line")]
    Damaged,
    /// The parts are there, one has a wrong form.
    #[error("the enrolment token has a bad {field}: ask for a new token")]
    BadField {
        /// `host address`, `certificate pin` or `secret`.
        field: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
struct Inside {
    u: String,
    p: String,
    s: String,
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    /// White space around the token and line breaks inside it (mail programs fold lines) are ignored.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text.len() > TOKEN_CHARS_MAX {
            return Err(TokenError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let body = strip_prefix(&text)?;
        let json = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).map_err(|_| TokenError::Damaged)?;
        let inside: Inside = serde_json::from_slice(&json).map_err(|_| TokenError::Damaged)?;
        Ok(Self {
            host_url: host_url(&inside.u)?,
            pin: inside.p.parse().map_err(|_| TokenError::BadField { field: "certificate pin" })?,
            secret: secret(&inside.s)?,
        })
    }
}

fn strip_prefix(text: &str) -> Result<&str, TokenError> {
    if text.is_empty() {
        return Err(TokenError::Empty);
    }
    if let Some(body) = text.strip_prefix(PREFIX) {
        return Ok(body);
    }
    match text.split_once('.') {
        Some((form, _)) if is_newer_form(form) => Err(TokenError::NewerForm { found: format!("{form}.") }),
        _ => Err(TokenError::WrongPrefix),
    }
}

fn is_newer_form(form: &str) -> bool {
    form.strip_prefix("nk").is_some_and(|n| (1..=3).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

fn host_url(text: &str) -> Result<String, TokenError> {
    let bad = TokenError::BadField { field: "host address" };
    let Some(authority) = text.strip_prefix("https://") else { return Err(bad) };
    let authority = authority.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if authority.is_empty() || authority.len() > 255 || !authority.chars().all(plain) {
        return Err(bad);
    }
    Ok(format!("https://{authority}"))
}

fn secret(text: &str) -> Result<TokenSecret, TokenError> {
    let bad = TokenError::BadField { field: "secret" };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad.clone())?;
    Ok(TokenSecret::new(bytes.try_into().map_err(|_| bad)?))
}

/// The token as it is pasted. Showing it is giving it away, so it is asked for by name.
impl EnrolmentToken {
    /// The one-line text that [`FromStr`] reads back.
    pub fn encode(&self) -> String {
        let inside = Inside {
            u: self.host_url.clone(),
            p: self.pin.to_string(),
            s: URL_SAFE_NO_PAD.encode(self.secret.expose()),
        };
        // Three strings always serialise.
        let json = serde_json::to_vec(&inside).unwrap_or_default();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }
}

/// Shows the host alone, never the secret.
impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "enrolment token for {}", self.host_url)
    }
}
