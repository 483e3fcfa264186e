//! Signing in: passwords, sessions, API keys.
//!
//! Invariant: a wrong name and a wrong password cost the same time and get the same answer.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use nightkeep_database::{NewSession, Role, Session, SessionKind, User};
use nightkeep_vault::crypto::random;
use nightkeep_wire::problem::ProblemCode;
use uuid::Uuid;

use super::{App, AppError};

/// The first user.
pub(crate) const ADMIN: &str = "admin";
/// How long a browser stays signed in.
pub(crate) const SESSION_LIFE: Duration = Duration::hours(12);
const API_KEY_LIFE: Duration = Duration::days(365);
/// What API keys begin with, so that scanners for leaked secrets find them.
const API_KEY_PREFIX: &str = "nkapi_";
/// Checked for names that do not exist.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl App {
    /// Makes the first user with a one-time password; none when there are users.
    pub(crate) async fn ensure_admin(&self) -> Result<Option<String>, AppError> {
        if self.database.has_users().await? {
            return Ok(None);
        }
        let password = new_password();
        let user = User {
            id: Uuid::now_v7(),
            name: ADMIN.to_owned(),
            password_hash: hash(password.clone()).await?,
            role: Role::Admin,
            customer: None,
            must_change: true,
        };
        let created = self.database.create_user(user, self.now()).await?;
        Ok(created.then_some(password))
    }

    /// Gives the admin a new password and signs every browser out.
    pub(crate) async fn reset_admin(&self) -> Result<String, AppError> {
        if let Some(password) = self.ensure_admin().await? {
            return Ok(password);
        }
        let password = new_password();
        let hash = hash(password.clone()).await?;
        if !self.database.set_password(ADMIN, &hash, true).await? {
            return Err(AppError::not_found("user \"admin\""));
        }
        self.audit("command line", "reset_password", ADMIN, "").await?;
        Ok(password)
    }

    /// Signs a user in; the token goes into the browser's cookie.
    pub(crate) async fn sign_in(&self, name: &str, password: String) -> Result<(String, User), AppError> {
        let now = self.now();
        if !self.sign_ins.allows(name, now) {
            let detail = "too many wrong passwords for this name: wait five minutes";
            return Err(AppError::new(ProblemCode::RateLimited, detail));
        }
        let user = self.database.user_named(name).await?;
        let expected = user.as_ref().map_or(NOBODY.to_owned(), |user| user.password_hash.clone());
        let right = verify(expected, password).await?;
        let Some(user) = user.filter(|_| right) else {
            self.sign_ins.failed(name, now);
            return Err(AppError::new(ProblemCode::NotSignedIn, "user name or password is wrong"));
        };
        self.sign_ins.succeeded(name);
        let token = self.open_session(&user, SessionKind::Browser, "", SESSION_LIFE).await?;
        self.audit(&user.name, "sign_in", &user.name, "").await?;
        Ok((token, user))
    }

    /// Makes an API key for the admin.
    pub(crate) async fn create_api_key(&self, label: &str) -> Result<String, AppError> {
        let user = self.database.user_named(ADMIN).await?.ok_or_else(|| AppError::not_found("user \"admin\""))?;
        let key = self.open_session(&user, SessionKind::ApiKey, label, API_KEY_LIFE).await?;
        self.audit("command line", "create_api_key", label, "").await?;
        Ok(key)
    }

    async fn open_session(
        &self,
        user: &User,
        kind: SessionKind,
        label: &str,
        life: Duration,
    ) -> Result<String, AppError> {
        let secret = URL_SAFE_NO_PAD.encode(random::<32>());
        let token = match kind {
            SessionKind::Browser => secret,
            SessionKind::ApiKey => format!("{API_KEY_PREFIX}{secret}"),
        };
        let session = NewSession {
            token_hash: token_hash(&token),
            user: user.id,
            kind,
            label: label.to_owned(),
            expires_at: self.now() + life,
        };
        self.database.create_session(session, self.now()).await?;
        Ok(token)
    }

    /// The session of a token.
    pub(crate) async fn session(&self, token: &str, kind: SessionKind) -> Result<Option<Session>, AppError> {
        let session = self.database.session(token_hash(token), self.now()).await?;
        Ok(session.filter(|session| session.kind == kind))
    }

    /// Ends a browser's session.
    pub(crate) async fn sign_out(&self, token: &str) -> Result<(), AppError> {
        Ok(self.database.delete_session(token_hash(token)).await?)
    }
}

fn token_hash(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

/// Twenty letters and digits without those that look alike, in groups: about 100 bits.
fn new_password() -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz234567891";
    let letters = random::<20>().map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
    letters.chunks(5).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

async fn hash(password: String) -> Result<String, AppError> {
    let hash = move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string());
    let hashed = tokio::task::spawn_blocking(hash).await.map_err(AppError::internal)?;
    hashed.map_err(|error| AppError::internal(error.to_string()))
}

async fn verify(expected: String, password: String) -> Result<bool, AppError> {
    let verify = move || {
        let parsed = PasswordHash::new(&expected).map_err(|error| error.to_string())?;
        Ok::<_, String>(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
    };
    tokio::task::spawn_blocking(verify).await.map_err(AppError::internal)?.map_err(AppError::internal)
}
