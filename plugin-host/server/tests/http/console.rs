//! People at the console: signing in, and pages of other sites.

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{Admin, TestHost, client};

#[tokio::test]
async fn nobody_sees_anything_without_signing_in() -> Result<()> {
    let host = TestHost::start().await?;
    for path in ["/api/v1/machines", "/api/v1/clients", "/api/v1/plans", "/api/v1/tokens", "/api/v1/summary"] {
        let status = client()?.get(format!("{}{path}", host.host.url())).send().await?.status();
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert!(Admin::sign_in(host.host.url(), "wrong").await.is_err());
    Ok(())
}

#[tokio::test]
async fn guessing_a_password_is_slowed_down() -> Result<()> {
    let host = TestHost::start().await?;
    let body = json!({ "user": "admin", "password": "guess" });
    let guess = || async {
        anyhow::Ok(client()?.post(format!("{}/api/v1/session", host.host.url())).json(&body).send().await?.status())
    };
    for _ in 0..10 {
        assert_eq!(guess().await?, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(guess().await?, StatusCode::TOO_MANY_REQUESTS);
    Ok(())
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() -> Result<()> {
    let host = TestHost::start().await?;
    for (header, value) in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        let request = host.admin.request(Method::POST, "/api/v1/scan").header(header, value);
        assert_eq!(request.send().await?.status(), StatusCode::FORBIDDEN, "{header}: {value}");
    }
    let own = host.admin.request(Method::POST, "/api/v1/scan").header("origin", host.host.url());
    assert_eq!(own.send().await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn signing_out_ends_the_session_on_the_host_too() -> Result<()> {
    let host = TestHost::start().await?;
    assert_eq!(host.admin.send(Method::DELETE, "/api/v1/session", None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(host.admin.send(Method::GET, "/api/v1/machines", None).await?.0, StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn a_machine_that_does_not_exist_is_not_found() -> Result<()> {
    let host = TestHost::start().await?;
    let path = format!("/api/v1/machines/{}", uuid::Uuid::new_v4());
    let (status, problem) = host.admin.send(Method::GET, &path, None).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not-found")));
    Ok(())
}

#[tokio::test]
async fn pages_lead_to_the_door_and_back() -> Result<()> {
    let host = TestHost::start().await?;
    let (client, url) = (client()?, host.host.url());
    let door = client.get(format!("{url}/machines?bucket=error")).send().await?;
    assert_eq!(door.status(), StatusCode::SEE_OTHER);
    assert_eq!(door.headers()["location"], "/sign-in?next=/machines%3Fbucket%3Derror");
    let form = "user=admin&password=wrong&next=https%3A%2F%2Fevil.example%2F";
    let refused = client.post(format!("{url}/sign-in")).header("content-type", "application/x-www-form-urlencoded");
    let refused = refused.body(form).send().await?;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let page = refused.text().await?;
    assert!(page.contains("user name or password is wrong") && !page.contains("evil.example"));
    Ok(())
}

#[tokio::test]
async fn the_list_and_a_machines_page_show_what_the_machine_told_escaped() -> Result<()> {
    let host = TestHost::start().await?;
    let agent =
        crate::agent::Agent::enrol(&host.token(json!({ "client": "<b>Quay</b>", "location": "Shop" })).await?).await?;
    for path in ["/machines".to_owned(), format!("/machines/{}", agent.id), format!("/machines/{}/row", agent.id)] {
        let response = host.admin.request(Method::GET, &path).send().await?;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()["content-security-policy"].to_str()?.to_owned();
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let page = response.text().await?;
        assert!(page.contains("front-desk") && !page.contains("<b>Quay"), "{path}");
        assert!(!page.contains("style=\"") && !page.contains("onclick"), "{path} has nothing inline");
    }
    Ok(())
}

#[tokio::test]
async fn an_open_console_hears_of_a_change() -> Result<()> {
    let host = TestHost::start().await?;
    let token = host.usual_token().await?;
    let mut events = host.admin.request(Method::GET, "/events").send().await?;
    let agent = crate::agent::Agent::enrol(&token).await?;
    let mut heard = String::new();
    while !heard.contains(&agent.id.to_string()) {
        let Some(piece) = events.chunk().await? else { anyhow::bail!("the stream ended: {heard}") };
        heard.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(heard.contains("event: machine"));
    Ok(())
}
