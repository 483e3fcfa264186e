//! A headless Chromium behind chromedriver, and the pictures it takes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder, Locator};
use nightkeep_harness::process::Process;
use nightkeep_harness::wait::{wait_for, wait_for_async};
use serde_json::json;

const START_AT_MOST: Duration = Duration::from_secs(30);

/// What the page shows follows from what agent and host do, on two busy cores.
const SEEN_AT_MOST: Duration = Duration::from_secs(90);

/// One browser window of 1280 by 800.
pub(crate) struct Browser {
    /// The window.
    pub(crate) client: Client,
    pictures: PathBuf,
    // Ends after the window's session.
    _driver: Process,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser that keeps pictures and its log in `output`.
    pub(crate) async fn start(output: &Path) -> Result<Self> {
        let installed = Command::new("chromedriver").arg("--version").output();
        installed.context("chromedriver is missing; on Debian: apt-get install chromium chromium-driver")?;
        nightkeep_harness::api::choose_cryptography();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let mut driver = Process::start("chromedriver", command, &output.join("chromedriver.log"))?;
        let port = wait_for("chromedriver's port", START_AT_MOST, || {
            driver.must_live()?;
            Ok(port_in(&driver.output()?))
        })?;
        let profile = tempfile::tempdir()?;
        let client = ClientBuilder::rustls()?
            .capabilities(capabilities(profile.path())?)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("the browser did not start")?;
        Ok(Self { client, pictures: output.to_owned(), _driver: driver, _profile: profile })
    }

    /// Keeps a picture of the window as `NAME.png`.
    pub(crate) async fn picture(&self, name: &str) -> Result<()> {
        let picture = self.client.screenshot().await?;
        Ok(std::fs::write(self.pictures.join(format!("{name}.png")), picture)?)
    }

    /// Visible text of the first element that matches; empty while there is none.
    pub(crate) async fn text_of(&self, selector: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.client.execute(script, vec![json!(selector)]).await?;
        Ok(text.as_str().unwrap_or_default().trim().to_owned())
    }

    /// Waits until the text of the first match satisfies `wanted`.
    pub(crate) async fn wait_for_text(&self, selector: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let what = format!("the text of {selector}");
        let seen = wait_for_async(&what, SEEN_AT_MOST, || async {
            let text = self.text_of(selector).await?;
            Ok(wanted(&text).then_some(text))
        });
        match seen.await {
            Ok(text) => Ok(text),
            Err(error) => {
                self.picture("what was there instead").await?;
                Err(error.context(format!("the page says: {}", self.text_of("body").await?)))
            }
        }
    }

    /// Clicks the first match; the page may replace it meanwhile, then the next one is taken.
    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        wait_for_async(&format!("{selector} to be clicked"), SEEN_AT_MOST, || async {
            let Ok(element) = self.client.find(Locator::Css(selector)).await else { return Ok(None) };
            Ok(element.click().await.ok())
        })
        .await
    }

    /// Types into the first match.
    pub(crate) async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        Ok(self.client.find(Locator::Css(selector)).await?.send_keys(text).await?)
    }
}

fn capabilities(profile: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let arguments = [
        "--headless=new".to_owned(),
        // Root may not use Chromium's own sandbox; the page is ours.
        "--no-sandbox".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-gpu".to_owned(),
        "--window-size=1280,800".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    let value = json!({ "acceptInsecureCerts": true, "goog:chromeOptions": { "args": arguments } });
    value.as_object().cloned().context("capabilities are an object")
}

/// `ChromeDriver was started successfully on port 41234.`
fn port_in(log: &str) -> Option<u16> {
    let rest = log.split("successfully on port ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[test]
fn the_drivers_port_is_found_in_its_log() {
    assert_eq!(port_in("x\nChromeDriver was started successfully on port 41234.\n"), Some(41234));
    assert_eq!(port_in("Starting ChromeDriver"), None);
}
