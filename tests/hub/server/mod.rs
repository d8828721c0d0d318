//! A server that speaks the Hub's API, in this process: repositories in memory, two ports
//! (the Hub, and another host for files), and faults on request.

mod api;
mod commit;
mod faults;
mod files;
mod lfs;
mod state;
mod wire;

pub use faults::{Fault, Kind};
pub use state::{Blob, State};

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{Request, Response};

/// The token that may write.
pub const TOKEN: &str = "hf_of_the_test_hub";
/// Its user.
pub const USER: &str = "me";

/// A running server; it ends with the process.
#[derive(Clone)]
pub struct TestHub {
    state: Arc<Mutex<State>>,
    /// Address of the Hub.
    pub url: String,
}

impl TestHub {
    /// Starts one on any free port of the loopback.
    pub fn start() -> Self {
        Self::start_at(0)
    }

    /// Starts one on a port.
    pub fn start_at(port: u16) -> Self {
        let hub = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let store = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = |of: &TcpListener| format!("http://{}", of.local_addr().unwrap());
        let state = State::new(url(&hub), url(&store));
        let this = Self { url: url(&hub), state: Arc::new(Mutex::new(state)) };
        this.listen(hub, true);
        this.listen(store, false);
        this
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something goes wrong from now on.
    pub fn fault(&self, path: &str, times: usize, kind: Kind) {
        self.state().faults.push(Fault { path: path.into(), times, kind });
    }

    /// Makes a repository with files, all in one commit; returns it.
    pub fn publish(&self, repo: &str, files: &[(&str, &[u8])]) -> String {
        let mut state = self.state();
        let files = files.iter().map(|(name, bytes)| ((*name).into(), (*bytes).to_vec()));
        state.publish(repo, files.collect())
    }

    fn listen(&self, listener: TcpListener, is_hub: bool) {
        let this = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let this = this.clone();
                std::thread::spawn(move || this.serve(&stream, is_hub));
            }
        });
    }

    /// Requests of one connection.
    fn serve(&self, stream: &TcpStream, is_hub: bool) {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut reader) {
            let kind = {
                let mut state = self.state();
                state.log.push((is_hub, request.line(), request.header("authorization").is_some()));
                faults::due(&mut state.faults, &request)
            };
            let is_head = request.method == "HEAD";
            let response = match &kind {
                Some(kind) if !kind.is_after() => kind.instead(self, &request, is_hub),
                _ => None,
            };
            let response = response.unwrap_or_else(|| self.answer(&request, is_hub));
            let response = match &kind {
                Some(kind) => kind.change(response),
                None => response,
            };
            if !matches!(response.write(stream, is_head), Ok(true)) {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, is_hub: bool) -> Response {
        let mut state = self.state();
        match is_hub {
            true => api::answer(&mut state, request),
            false => lfs::store(&mut state, request),
        }
    }
}
