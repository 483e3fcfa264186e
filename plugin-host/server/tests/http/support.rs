//! A host in a temporary folder, whose clock the test turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result, ensure};
use chrono::{Duration, Utc};
use nightkeep_host::{Clock, Host, HostOptions};
use nightkeep_wire::token::EnrolmentToken;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) struct TestHost {
    pub(crate) host: Host,
    pub(crate) admin: Admin,
    pub(crate) folder: tempfile::TempDir,
    ahead_seconds: Arc<AtomicI64>,
}

/// A signed-in technician.
pub(crate) struct Admin {
    client: reqwest::Client,
    url: String,
    cookie: String,
}

pub(crate) fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .build()?)
}

impl TestHost {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ahead_seconds = Arc::new(AtomicI64::new(0));
        let ahead = Arc::clone(&ahead_seconds);
        let options = HostOptions {
            data: folder.path().to_owned(),
            listen: "127.0.0.1:0".parse()?,
            database: None,
            public_url: None,
            certificate: None,
            clock: Clock::new(move || Utc::now() + Duration::seconds(ahead.load(Ordering::Relaxed))),
        };
        let host = Host::start(options).await?;
        let password = host.admin_password().context("the first start makes an admin")?.to_owned();
        let admin = Admin::sign_in(host.url(), &password).await?;
        Ok(Self { host, admin, folder, ahead_seconds })
    }

    /// Lets time pass on the host.
    pub(crate) fn advance(&self, by: Duration) {
        self.ahead_seconds.fetch_add(by.num_seconds(), Ordering::Relaxed);
    }

    pub(crate) async fn token(&self, wish: Value) -> Result<EnrolmentToken> {
        self.admin.token(wish).await
    }

    /// A token for one machine of the usual client.
    pub(crate) async fn usual_token(&self) -> Result<EnrolmentToken> {
        self.token(json!({ "client": "Harbour Dental", "location": "Main" })).await
    }
}

impl Admin {
    pub(crate) async fn sign_in(url: &str, password: &str) -> Result<Self> {
        let client = client()?;
        let body = json!({ "user": "admin", "password": password });
        let response = client.post(format!("{url}/api/v1/session")).json(&body).send().await?;
        ensure!(response.status().is_success(), "sign-in answered {}", response.status());
        let cookie = response.headers().get("set-cookie").context("no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok(Self { client, url: url.to_owned(), cookie })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).header("cookie", &self.cookie)
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self.send(Method::GET, path, None).await?;
        ensure!(status.is_success(), "{path} answered {status}: {body}");
        Ok(body)
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Result<Value> {
        let (status, body) = self.send(Method::POST, path, Some(body)).await?;
        ensure!(status.is_success(), "{path} answered {status}: {body}");
        Ok(body)
    }

    pub(crate) async fn token(&self, wish: Value) -> Result<EnrolmentToken> {
        let made = self.post("/api/v1/tokens", wish).await?;
        Ok(made["token"].as_str().context("no token")?.parse()?)
    }
}
