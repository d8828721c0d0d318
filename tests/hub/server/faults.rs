//! What can go wrong on the way.

use super::TestHub;
use super::wire::{Request, Response};

/// Something that goes wrong a few times.
pub struct Fault {
    /// Part of method and path.
    pub path: String,
    pub times: usize,
    pub kind: Kind,
}

/// What it is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A status, with `Retry-After`.
    Status(u16, Option<u64>),
    /// What was asked is done, and the answer is lost in a 500.
    AfterAll,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// `Content-Length` says so many bytes less.
    Shorter(usize),
    /// One byte is another.
    Tampered,
    /// To the same address, for ever.
    Circle,
    /// This body, with status 200.
    Body(Vec<u8>),
}

/// The fault that a request meets, if any.
pub fn due(faults: &mut Vec<Fault>, request: &Request) -> Option<Kind> {
    let line = request.line();
    let at = faults.iter().position(|fault| line.contains(&fault.path))?;
    faults[at].times -= 1;
    let kind = faults[at].kind.clone();
    if faults[at].times == 0 {
        faults.remove(at);
    }
    Some(kind)
}

impl Kind {
    /// The request is answered first.
    pub fn is_after(&self) -> bool {
        matches!(self, Self::AfterAll | Self::Cut(_) | Self::Shorter(_) | Self::Tampered)
    }

    /// What comes instead of an answer.
    pub fn instead(&self, hub: &TestHub, request: &Request, is_hub: bool) -> Option<Response> {
        match self {
            Self::Status(status, wait) => {
                let response = Response::error(*status, "", "not now");
                Some(match wait {
                    Some(seconds) => response.with("Retry-After", seconds.to_string()),
                    None => response,
                })
            }
            Self::Circle => {
                let state = hub.state();
                let host = if is_hub { &state.hub } else { &state.store };
                let to = format!("{host}/{}", request.path.join("/"));
                Some(Response::bytes(302, Vec::new()).with("Location", to))
            }
            Self::Body(bytes) => Some(Response::bytes(200, bytes.clone())),
            _ => None,
        }
    }

    /// What becomes of an answer.
    pub fn change(&self, mut response: Response) -> Response {
        match self {
            Self::AfterAll => return Response::error(500, "", "the answer got lost"),
            Self::Cut(bytes) => response.cut = Some(*bytes),
            Self::Shorter(bytes) => response.length = Some(response.body.len() - bytes),
            Self::Tampered => {
                if let Some(byte) = response.body.last_mut() {
                    *byte ^= 1;
                }
            }
            _ => {}
        }
        response
    }
}
