//! The console in a headless browser. Pictures are kept in `target/test-output/console` to be looked at.

use anyhow::{Result, ensure};
use nightkeep_harness::binaries::output_dir;
use nightkeep_harness::cluster::Cluster;
use nightkeep_harness::tree;

use crate::browser::Browser;
use crate::hosted::with_default_plan;

const CHIP: &str = "tr[data-machine] td.status .chip";
const COUNT_OK: &str = "nav.buckets a.ok b";
const START: &str = "tr[data-machine] form[action$='/start'] button";
const STOP: &str = "tr[data-machine] form[action$='/stop'] button";

#[tokio::test]
async fn a_technician_signs_in_starts_a_backup_stops_it_and_sees_the_next_one_end_well() -> Result<()> {
    let output = output_dir("console")?;
    let browser = Browser::start(&output).await?;
    let cluster = Cluster::start(&output).await?;
    let source = tempfile::tempdir()?;
    for index in 0..8 {
        tree::noise(&source.path().join(format!("noise {index}")), 48 << 20, index + 1)?;
    }
    let _machine = cluster.running_machine("reception", source.path())?;
    with_default_plan(&cluster.host.sign_in().await?, "reception").await?;

    sign_in(&browser, &cluster).await?;
    browser.wait_for_text(CHIP, |text| text == "Not protected").await?;
    browser.picture("2 not protected").await?;

    browser.click(START).await?;
    browser.wait_for_text(CHIP, |text| percent(text).is_some_and(|percent| percent > 0)).await?;
    browser.picture("3 backing up").await?;

    browser.click(STOP).await?;
    browser.wait_for_text(CHIP, |text| text == "Not protected").await?;
    browser.wait_for_text(START, |text| text == "Back up now").await?;
    browser.picture("4 stopped").await?;

    browser.click(START).await?;
    browser.wait_for_text(CHIP, |text| text == "OK").await?;
    browser.wait_for_text(COUNT_OK, |text| text == "1").await?;
    browser.picture("5 ok").await?;
    Ok(browser.client.close().await?)
}

async fn sign_in(browser: &Browser, cluster: &Cluster) -> Result<()> {
    let (user, password) = cluster.host.admin();
    browser.client.goto(&cluster.host.base()).await?;
    browser.wait_for_text("h1", |text| text.contains("Sign in")).await?;
    browser.picture("1 sign-in").await?;
    browser.fill("input[name=user]", user).await?;
    browser.fill("input[name=password]", password).await?;
    browser.click("form button").await?;
    browser.wait_for_text("h1", |text| text == "Machines").await?;
    let address = browser.client.current_url().await?;
    ensure!(address.path() == "/machines", "{address}");
    Ok(())
}

/// The number of `Backing up 42 %`.
fn percent(text: &str) -> Option<u32> {
    text.strip_prefix("Backing up ")?.strip_suffix(" %")?.parse().ok()
}
