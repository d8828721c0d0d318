//! HTTP/1.1, as much as clients of the Hub need.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

/// A request as a whole.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// Parts of the path, decoded.
    pub path: Vec<String>,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer as a whole.
#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub cut: Option<usize>,
    /// `Content-Length` says this.
    pub length: Option<usize>,
}

impl Request {
    /// The next one of a connection, if there is one.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(from)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = line(from)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        // A proxy gets the whole address.
        let target = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => target,
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.split('/').skip(1).map(decoded).collect();
        let (method, query) = (method.into(), query.into());
        let mut request = Self { method, path, query, headers, body: Vec::new() };
        request.body = request.read_body(from)?;
        Ok(Some(request))
    }

    fn read_body(&self, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding").is_some_and(|v| v.contains("chunked")) {
            loop {
                let size = usize::from_str_radix(line(from)?.trim(), 16).unwrap_or(0);
                from.take(size as u64).read_to_end(&mut body)?;
                line(from)?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let size = self.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        from.take(size).read_to_end(&mut body)?;
        Ok(body)
    }

    /// Its value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Method and path.
    pub fn line(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The path for `match`.
    pub fn parts(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

impl Response {
    /// With a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, body, ..Self::default() }.with("Content-Type", "application/json")
    }

    /// With bytes.
    pub fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, body, ..Self::default() }
    }

    /// As the Hub says what is wrong.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let this = Self::json(status, &serde_json::json!({"error": message}));
        let this = if code.is_empty() { this } else { this.with("X-Error-Code", code) };
        this.with("X-Error-Message", message)
    }

    /// One more header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends it; false if the connection is to end.
    pub fn write(&self, mut to: &TcpStream, is_head: bool) -> io::Result<bool> {
        let length = self.length.unwrap_or(self.body.len());
        let mut head = format!("HTTP/1.1 {} .\r\nContent-Length: {length}\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut bytes = (head + "\r\n").into_bytes();
        let cut = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        if !is_head {
            bytes.extend(&self.body[..cut]);
        }
        to.write_all(&bytes)?;
        to.flush()?;
        Ok(is_head || (cut == self.body.len() && length == cut))
    }
}

/// The body of an answer of another server of this machine.
pub fn get(url: &str) -> Vec<u8> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host).unwrap();
    // HTTP/1.0: no chunks.
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    answer.split_off(head)
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    from.take(1 << 16).read_line(&mut text)?;
    Ok(text.trim_end().into())
}

/// Without percent signs.
fn decoded(part: &str) -> String {
    let (bytes, mut all, mut i) = (part.as_bytes(), Vec::new(), 0);
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                all.push(byte);
                i += 3;
            }
            (byte, _) => {
                all.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}
