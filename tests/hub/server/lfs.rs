//! LFS: where large files go, at once or in parts.

use super::files::part;
use super::state::State;
use super::wire::{Request, Response};
use moa_infer::hub::sha256;
use serde_json::{Value, json};

/// Where to put objects.
pub fn batch(state: &State, id: &str, request: &Request) -> Response {
    if !state.repos.contains_key(id) {
        return Response::error(404, "RepoNotFound", "Repository not found");
    }
    let body = request.json();
    if state.cas.is_some() {
        return Response::json(200, &json!({"transfer": "xet", "objects": body["objects"]}));
    }
    let offers =
        |kind: &str| body["transfers"].as_array().is_some_and(|all| all.iter().any(|t| t == kind));
    let objects = body["objects"].as_array().cloned().unwrap_or_default();
    let size = |object: &Value| object["size"].as_u64().unwrap_or(0) as usize;
    let large = objects.iter().any(|object| size(object) > state.part) && offers("multipart");
    let answer = |object: &Value| {
        let (oid, size) = (object["oid"].as_str().unwrap_or_default(), size(object));
        let mut answer = json!({"oid": oid, "size": size});
        if state.objects.contains_key(oid) {
            return answer; // there already
        }
        let upload = match large {
            false => json!({"href": format!("{}/objects/{oid}", state.store)}),
            true => {
                let mut header = json!({"chunk_size": state.part.to_string()});
                for n in 1..=size.div_ceil(state.part) {
                    header[format!("{n:05}")] = json!(format!("{}/objects/{oid}/{n}", state.store));
                }
                json!({"href": format!("{}/complete/{oid}", state.store), "header": header})
            }
        };
        answer["actions"] =
            json!({"upload": upload, "verify": {"href": format!("{}/lfs/verify", state.hub)}});
        answer
    };
    let objects: Vec<_> = objects.iter().map(answer).collect();
    let transfer = if large { "multipart" } else { "basic" };
    Response::json(200, &json!({"transfer": transfer, "objects": objects}))
}

/// Whether an object arrived.
pub fn verify(state: &State, body: &Value) -> Response {
    let size = body["oid"].as_str().and_then(|oid| state.objects.get(oid)).map(|bytes| bytes.len());
    match size == body["size"].as_u64().map(|size| size as usize) && size.is_some() {
        true => Response::json(200, &json!({})),
        false => Response::error(404, "", "the object is not there"),
    }
}

/// Puts parts together.
fn complete(state: &mut State, oid: &str, body: &Value) -> Response {
    let parts = body["parts"].as_array().cloned().unwrap_or_default();
    let mut whole = Vec::new();
    for part in &parts {
        let number = part["partNumber"].as_u64().unwrap_or(0) as usize;
        match state.parts.get(&(oid.to_owned(), number)) {
            Some(bytes) if part["etag"] == format!("\"{}\"", sha256(bytes)) => whole.extend(bytes),
            _ => return Response::error(400, "", "a part is missing or another one"),
        }
    }
    if sha256(&whole) != oid {
        return Response::error(400, "", "the parts are not the object");
    }
    state.parts.retain(|(of, _), _| of != oid);
    state.objects.insert(oid.into(), whole.into());
    Response::json(200, &json!({}))
}

/// The other host: its addresses are secrets, a token has no place there.
pub fn store(state: &mut State, request: &Request) -> Response {
    if request.header("authorization").is_some() {
        return Response::error(400, "", "a token was sent to the store");
    }
    let parts = request.parts();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["complete", oid]) => complete(state, oid, &request.json()),
        ("PUT", ["objects", oid]) => {
            if sha256(&request.body) != *oid {
                return Response::error(400, "", "not the object of this name");
            }
            state.objects.insert((*oid).into(), request.body.clone().into());
            Response::bytes(200, Vec::new())
        }
        ("PUT", ["objects", oid, number]) => {
            let number = number.parse().unwrap_or(0);
            let etag = format!("\"{}\"", sha256(&request.body));
            state.parts.insert(((*oid).into(), number), request.body.clone());
            Response::bytes(200, Vec::new()).with("ETag", etag)
        }
        ("GET" | "HEAD", ["objects", oid]) => {
            let mut files =
                state.repos.values().flat_map(|repo| &repo.commits).flat_map(|c| c.1.values());
            let found = files.find(|blob| blob.is_lfs && blob.hash == *oid);
            match found.map(|blob| &blob.bytes).or_else(|| state.objects.get(*oid)) {
                Some(bytes) => part(bytes, request).with("ETag", format!("\"{oid}\"")),
                None => Response::error(404, "", "no such object"),
            }
        }
        _ => Response::error(404, "", "no such address"),
    }
}
