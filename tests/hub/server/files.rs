//! Lists of files, and the files.

use super::state::{Files, State};
use super::wire::{Request, Response};
use serde_json::json;

/// A page of the list.
pub fn tree(files: &Files, hub: &str, request: &Request, page: usize) -> Response {
    let entry = |(path, blob): (&String, &super::Blob)| {
        let size = blob.size;
        match blob.is_lfs {
            true => json!({
                "type": "file", "path": path, "size": size,
                "oid": moa_infer::hub::git_blob(path.as_bytes()), // of the pointer
                "lfs": {"oid": blob.hash, "size": size, "pointerSize": 134}
            }),
            false => json!({"type": "file", "path": path, "size": size, "oid": blob.hash}),
        }
    };
    let cursor = request.query.split('&').find_map(|pair| pair.strip_prefix("cursor="));
    let from: usize = cursor.and_then(|c| c.parse().ok()).unwrap_or(0);
    let entries: Vec<_> = files.iter().skip(from).take(page).map(entry).collect();
    let response = Response::json(200, &json!(entries));
    let next = from + page;
    if next >= files.len() {
        return response;
    }
    let path = request.path.join("/");
    response.with("Link", format!("<{hub}/{path}?recursive=true&cursor={next}>; rel=\"next\""))
}

/// A file of a revision: itself, or where it is.
pub fn resolve(state: &State, id: &str, revision: &str, path: &str, request: &Request) -> Response {
    let Some((hash, files)) = state.repos[id].at(revision) else {
        return Response::error(404, "RevisionNotFound", "Invalid rev id");
    };
    let Some(blob) = files.get(path) else {
        return Response::error(404, "EntryNotFound", "Entry not found")
            .with("X-Repo-Commit", hash);
    };
    if blob.is_xet {
        return in_xet(state, id, &blob.hash, blob.size, request).with("X-Repo-Commit", hash);
    }
    if blob.is_lfs && state.redirects {
        return Response::bytes(302, Vec::new())
            .with("Location", format!("{}/objects/{}", state.store, blob.hash))
            .with("X-Repo-Commit", hash)
            .with("X-Linked-Etag", format!("\"{}\"", blob.hash))
            .with("X-Linked-Size", blob.size.to_string());
    }
    part(&blob.bytes, request)
        .with("X-Repo-Commit", hash)
        .with("ETag", format!("\"{}\"", blob.hash))
}

/// A file whose bytes are in xet: where, for clients that speak it, else the bytes.
fn in_xet(state: &State, id: &str, sha256: &str, size: usize, request: &Request) -> Response {
    let (Some(cas), Some(xet)) = (&state.cas, state.xet.get(sha256)) else {
        return Response::error(404, "", "not in xet");
    };
    let route = format!("{}/api/models/{id}/xet-read-token/main", state.hub);
    let body = match request.method.as_str() {
        "HEAD" => Vec::new(),
        _ => super::wire::get(&format!("{cas}/simulation/files/{xet}/data")),
    };
    let response = match request.method.as_str() {
        "HEAD" => Response { length: Some(size), ..Response::bytes(200, body) },
        _ => part(&body, request),
    };
    response
        .with("X-Xet-Hash", xet)
        .with("X-Xet-Refresh-Route", &route)
        .with("X-Linked-Etag", format!("\"{sha256}\""))
        .with("ETag", format!("\"{sha256}\""))
        .with("X-Linked-Size", size.to_string())
}

/// The whole, or what `Range` asks for.
pub fn part(bytes: &[u8], request: &Request) -> Response {
    let from = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
    match from {
        Some(from) if from >= bytes.len() => Response::error(416, "", "Range Not Satisfiable"),
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            Response::bytes(206, bytes[from..].to_vec()).with("Content-Range", range)
        }
        None => Response::bytes(200, bytes.to_vec()).with("Accept-Ranges", "bytes"),
    }
}
