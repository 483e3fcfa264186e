//! The console in a headless browser. Pictures are kept in `target/test-output/console` to be looked at.

use anyhow::Result;
use nightkeep_harness::binaries::output_dir;

use crate::browser::Browser;

#[tokio::test]
async fn tmp_browser() -> Result<()> {
    let output = output_dir("console")?;
    let Some(browser) = Browser::start(&output).await? else { return Ok(()) };
    browser.client.goto("data:text/html,<h1>Hello Machines</h1><p>Backing up 42 %</p>").await?;
    browser.wait_for_text("hello", |text| text.contains("Hello")).await?;
    browser.picture("hello").await?;
    browser.client.close().await?;
    Ok(())
}
