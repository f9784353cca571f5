//! The client examples, run as a reader would run them.

use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::support::host::{PATIENCE, binary};
use crate::support::{TestHost, root};
use crate::tidy::skip;

/// Its lines; `None` if the program is not installed.
async fn run(program: &str, args: &[&str]) -> Option<Vec<String>> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root().join("examples/clients")).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("WASMILL_TOKEN").stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = match tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time") {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{program}: {error}"),
    };
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    Some(String::from_utf8(stdout).expect("its output is UTF-8").lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn the_python_worker_handles_orders_and_gives_one_up() {
    let host = TestHost::start().await;
    let Some(lines) = run("python3", &["worker.py", &host.url]).await else {
        return skip("python3 is not installed");
    };
    let mut charged: Vec<_> = lines.iter().filter(|line| line.starts_with("charged")).collect();
    charged.sort();
    assert_eq!(charged, ["charged order-1 1999", "charged order-1 500", "charged order-3 750"], "{lines:?}");
    assert!(lines.contains(&"dead letter order-2: a price below zero".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn the_javascript_worker_empties_a_queue() {
    let host = TestHost::start().await;
    let Some(lines) = run("node", &["queue.mjs", &host.url]).await else {
        return skip("node is not installed");
    };
    let sent: Vec<_> = lines.iter().filter(|line| line.starts_with("sent")).collect();
    assert_eq!(sent.len(), 3, "{lines:?}");
    assert_eq!(sent[2], "sent to c-9: later", "what is delayed comes last: {lines:?}");
}

#[tokio::test]
async fn the_rust_worker_consumes_with_credit() {
    let host = TestHost::start().await;
    let example = binary().with_file_name("examples").join("consume");
    let Some(lines) = run(&example.display().to_string(), &[&host.url]).await else {
        return skip("the example is not built (cargo build --release --workspace --all-targets)");
    };
    assert_eq!(lines.last().map(String::as_str), Some("handled 20 events"), "{lines:?}");
}
