//! nginx by `auth_request`.

use mcp_oauth_tests::tools;
use tokio::process::Command;

use crate::promises;
use crate::site::Site;

/// What surrounds the file in `/etc/nginx/nginx.conf`, for a process of the test's own.
fn surroundings(directory: &str) -> String {
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {directory}/{name};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n    access_log off;\n{paths}    include {directory}/nginx.conf;\n}}\n"
    )
}

async fn start(test: &str) -> Option<Site> {
    let nginx = tools::proxy(test, "nginx", "-v")?;
    let mut site = Site::start().await;
    site.write("nginx.conf");
    let directory = site.directory().to_str().unwrap().to_owned();
    let main = site.directory().join("main.conf");
    std::fs::write(&main, surroundings(&directory)).unwrap();
    site.run(
        Command::new(nginx)
            .args(["-p", &directory, "-e", "stderr", "-c"])
            .arg(main),
    )
    .await;
    Some(site)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nginx_all_promises_hold() {
    if let Some(site) = start("nginx in front of the servers").await {
        promises::all(&site).await;
    }
}
