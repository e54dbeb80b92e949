//! An HTTP client of a few lines.

use std::net::IpAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::PATIENCE;

/// One HTTP listener of a broker.
#[derive(Clone, Copy)]
pub struct Rest {
    pub ip: IpAddr,
    pub port: u16,
    pub content_type: &'static str,
}

/// What it answered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// In lower case, each line with its end.
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The number of the refusal, which has to come under the status that belongs to it.
    pub fn error_code(&self) -> i64 {
        let body = self.json();
        let code = body["error_code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"));
        let status = if code >= 10_000 { code / 100 } else { code };
        assert_eq!(i64::from(self.status), status, "{self:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{self:?}");
        code
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

impl Rest {
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let exchange = async {
            let mut stream = TcpStream::connect((self.ip, self.port)).await.unwrap();
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
                self.ip,
                body.len()
            );
            // A listener that has seen enough may close before it has read everything.
            let _ = stream.write_all(request.as_bytes()).await;
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text).await;
            String::from_utf8(text).unwrap()
        };
        let text = timeout(PATIENCE, exchange).await.expect("an answer in time");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: format!("{}\r\n", head.to_ascii_lowercase()), body: body.to_owned() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send("DELETE", path, &[], "").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[("content-type", self.content_type)], &body.to_string()).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Reply {
        self.send("PUT", path, &[("content-type", self.content_type)], &body.to_string()).await
    }
}
