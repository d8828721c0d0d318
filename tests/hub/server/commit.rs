//! Commits, as the Hub takes them.

use super::state::{Blob, State};
use super::wire::{Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How each file is to come.
pub fn preupload(state: &State, id: &str, revision: &str, request: &Request) -> Response {
    let Some((_, files)) = state.repos[id].at(revision) else {
        return Response::error(404, "RevisionNotFound", "Invalid rev id");
    };
    let answer = |file: &Value| {
        let (path, size) = (file["path"].as_str().unwrap_or_default(), file["size"].as_u64());
        let mode = if State::is_lfs(path, size.unwrap_or(0) as usize) { "lfs" } else { "regular" };
        let oid = files.get(path).map(|blob| blob.hash.clone());
        json!({"path": path, "uploadMode": mode, "shouldIgnore": path == "ignored.log", "oid": oid})
    };
    let body = request.json();
    let asked = body["files"].as_array().cloned().unwrap_or_default();
    if asked.len() > 256 {
        return Response::error(400, "", "too many files at once");
    }
    Response::json(200, &json!({"files": asked.iter().map(answer).collect::<Vec<_>>()}))
}

/// One commit, if its parent is still the head.
pub fn commit(state: &mut State, id: &str, revision: &str, request: &Request) -> Response {
    let text = String::from_utf8_lossy(&request.body);
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let pr = request.query.split('&').any(|pair| pair == "create_pr=1");
    let Some((head, files)) = state.repos[id].at(revision).cloned() else {
        return Response::error(404, "RevisionNotFound", "Invalid rev id");
    };
    let parent = lines.first().map(|line| line["value"]["parentCommit"].clone());
    if let Some(parent) = parent.as_ref().and_then(Value::as_str).filter(|p| !pr && *p != head) {
        let message =
            format!("A commit has happened since {parent:.7}. Please refresh and try again.");
        return Response::error(412, "", &message);
    }
    let mut files = files;
    for line in lines.iter().skip(1) {
        let value = &line["value"];
        let path = value["path"].as_str().unwrap_or_default().to_owned();
        match line["key"].as_str() {
            Some("file") => {
                let content = STANDARD.decode(value["content"].as_str().unwrap_or_default());
                let Ok(bytes) = content else { return Response::error(400, "", "no base64") };
                if State::is_lfs(&path, bytes.len()) {
                    let message = format!("{path} was declared lfs and came inline");
                    return Response::error(400, "", &message);
                }
                files.insert(path, Blob::regular(bytes));
            }
            Some("lfsFile") => {
                let oid = value["oid"].as_str().unwrap_or_default();
                if state.cas.is_some() {
                    let size = value["size"].as_u64().unwrap_or(0) as usize;
                    files.insert(path, Blob::xet(oid, size));
                    continue;
                }
                let object = state.objects.get(oid);
                let Some(bytes) = object.cloned() else {
                    let message = "LFS pointer pointed to a file that does not exist";
                    return Response::error(400, "", message);
                };
                files.insert(path, Blob::lfs(oid, bytes));
            }
            Some("deletedFile") => drop(files.remove(&path)),
            _ => return Response::error(400, "", "an unknown line"),
        }
    }
    let hub = state.hub.clone();
    let Some(repo) = state.repos.get_mut(id) else { return Response::error(404, "", "gone") };
    let number = repo.refs.keys().filter(|name| name.starts_with("refs/pr/")).count() + 1;
    let target = if pr { format!("refs/pr/{number}") } else { revision.to_owned() };
    let hash = repo.commit(&target, files);
    let mut answer = json!({
        "success": true, "commitOid": hash, "commitUrl": format!("{hub}/{id}/commit/{hash}"), "hookOutput": ""
    });
    if pr {
        answer["pullRequestUrl"] = json!(format!("{hub}/{id}/discussions/{number}"));
    }
    Response::json(200, &answer)
}
