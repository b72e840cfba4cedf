//! The real `exactod serve` as a child process: its log, its HTTP side, signals.

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::gate;
use crate::world::{MODEL, PATIENCE, World, eventually};

/// A running daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    http: reqwest::Client,
    /// `http://127.0.0.1:PORT`.
    pub base: String,
}

/// An HTTP answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }
}

impl Daemon {
    /// Starts it and waits until it says where it listens.
    pub async fn start(world: &World) -> Daemon {
        Daemon::saying(&mut world.exactod(&["serve"]), "exactod is up", "address=").await
    }

    /// Starts a command; in the line with `word` its address follows `before`.
    pub async fn saying(command: &mut Command, word: &str, before: &str) -> Daemon {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            }
        });
        let mut daemon = Daemon { child, log, http: gate::client(), base: String::new() };
        daemon.says(word).await;
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains(word)).unwrap_or_default();
        let address = line.split(before).nth(1).and_then(|rest| rest.split(['/', ' ']).next()).unwrap_or_default();
        assert!(!address.is_empty(), "{line}");
        daemon.base = format!("http://{address}");
        daemon
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log holds a text.
    pub async fn says(&mut self, text: &str) {
        let (log, child) = (Arc::clone(&self.log), &mut self.child);
        let found = eventually(text, async || {
            let logged = log.lock().unwrap().clone();
            let ended = child.try_wait().unwrap();
            (logged.contains(text) || ended.is_some()).then_some((logged, ended))
        })
        .await;
        assert!(found.0.contains(text), "ended with {:?} before it said {text:?}:\n{}", found.1, found.0);
    }

    /// `GET`, with a header or without.
    pub async fn get(&self, path: &str, header: Option<(&str, &str)>) -> Answer {
        let mut request = self.http.get(format!("{}{path}", self.base));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// `POST` of a JSON document.
    pub async fn post(&self, path: &str, document: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.base)).header("content-type", "application/json");
        let response = request.body(document.to_string()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    /// The model's allowlist.
    pub async fn allowlist(&self) -> Answer {
        self.get(&format!("/v1/models/{MODEL}/allowlist"), None).await
    }

    /// The value of a metric, by the beginning of its line.
    pub async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.get("/metrics", None).await.body;
        let found = text.lines().find(|l| l.starts_with(line))?;
        found.rsplit(' ').next()?.parse().ok()
    }

    /// Sends a signal, such as `TERM`.
    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits for its end; gives exit code and log.
    pub async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end:\n{}", self.log())).unwrap();
        (status.code(), self.log())
    }

    /// Asks it to stop, and waits for its orderly end.
    pub async fn stop(self) -> String {
        self.signal("TERM").await;
        let (code, log) = self.ended().await;
        assert_eq!(code, Some(0), "{log}");
        log
    }
}
