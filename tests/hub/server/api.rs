//! Routes of the Hub.

use super::state::{Repo, State};
use super::wire::{Request, Response};
use super::{TOKEN, USER, commit, files, lfs};
use serde_json::{Value, json};

/// Answers a request.
pub fn answer(state: &mut State, request: &Request) -> Response {
    let known = request.header("authorization").map(|v| v == format!("Bearer {TOKEN}"));
    if known == Some(false) || (request.method == "POST" && known.is_none()) {
        return Response::error(401, "", "Invalid username or password.");
    }
    let parts = request.parts();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["api", "whoami-v2"]) => Response::json(200, &whoami(known.is_some())),
        ("POST", ["api", "repos", "create"]) => create(state, &request.json()),
        // For tests/hub/peers: what a file is called in xet.
        ("POST", ["test", "xet", sha256, xet]) => {
            state.xet.insert((*sha256).into(), (*xet).into());
            Response::json(200, &json!({}))
        }
        ("DELETE", ["api", "repos", "delete"]) => {
            let body = request.json();
            let owner = body["organization"].as_str().unwrap_or(USER);
            state.repos.remove(&format!("{owner}/{}", body["name"].as_str().unwrap_or_default()));
            let State { repos, objects, .. } = state;
            let blobs = repos.values().flat_map(|r| &r.commits).flat_map(|(_, f)| f.values());
            objects.retain(|hash, _| blobs.clone().any(|blob| blob.hash == *hash));
            Response::json(200, &json!({}))
        }
        ("POST", ["api", "validate-yaml"]) => {
            Response::json(200, &json!({"errors": [], "warnings": []}))
        }
        ("POST", [owner, name, "info", "lfs", "objects", "batch"]) => {
            let name = name.trim_end_matches(".git");
            lfs::batch(state, &format!("{owner}/{name}"), request)
        }
        ("POST", ["lfs", "verify"]) => lfs::verify(state, &request.json()),
        (_, ["api", "models", owner, name, rest @ ..]) => {
            let id = format!("{owner}/{name}");
            match seen(state, &id, known.is_some()) {
                Err(refused) => refused,
                Ok(()) => of_repo(state, &id, rest, request),
            }
        }
        ("GET" | "HEAD", [owner, name, "resolve", revision, path @ ..]) => {
            let id = format!("{owner}/{name}");
            match seen(state, &id, known.is_some()) {
                Err(refused) => refused,
                Ok(()) => files::resolve(state, &id, revision, &path.join("/"), request),
            }
        }
        _ => Response::error(404, "", "no such address"),
    }
}

fn whoami(known: bool) -> Value {
    match known {
        true => json!({
            "type": "user", "name": USER, "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "t", "role": "write"}}
        }),
        false => json!({"error": "Invalid credentials in Authorization header"}),
    }
}

/// A private repository is not there for strangers, and a gated one is closed.
fn seen(state: &State, id: &str, known: bool) -> Result<(), Response> {
    match state.repos.get(id) {
        Some(repo) if repo.gated => {
            Err(Response::error(403, "GatedRepo", "Access to this model is restricted"))
        }
        Some(repo) if !repo.private || known => Ok(()),
        None if known => Err(Response::error(404, "RepoNotFound", "Repository not found")),
        _ => Err(Response::error(401, "RepoNotFound", "Repository not found")),
    }
}

fn create(state: &mut State, body: &Value) -> Response {
    let owner = body["organization"].as_str().unwrap_or(USER);
    let id = format!("{owner}/{}", body["name"].as_str().unwrap_or_default());
    if owner != USER {
        return Response::error(403, "", "You don't have the rights to create a model there");
    }
    let url = format!("{}/{id}", state.hub);
    if state.repos.contains_key(&id) {
        let body = json!({"error": "You already created this model repo", "url": url});
        return Response::json(409, &body);
    }
    let private = body["private"].as_bool().unwrap_or(body["visibility"] == "private");
    let mut repo = Repo { private, ..Repo::default() };
    repo.commit("main", Default::default());
    state.repos.insert(id.clone(), repo);
    Response::json(200, &json!({"url": url, "name": id, "id": "1"}))
}

fn of_repo(state: &mut State, id: &str, rest: &[&str], request: &Request) -> Response {
    match (request.method.as_str(), rest) {
        ("POST", ["preupload", revision]) => commit::preupload(state, id, revision, request),
        ("POST", ["commit", revision]) => commit::commit(state, id, revision, request),
        ("GET", ["refs"]) => {
            let repo = &state.repos[id];
            let branch = |(name, &at): (&String, &usize)| json!({"name": name, "ref": format!("refs/heads/{name}"), "targetCommit": repo.commits[at].0});
            let branches: Vec<_> = repo.refs.iter().map(branch).collect();
            Response::json(200, &json!({"branches": branches, "tags": [], "converts": []}))
        }
        ("GET", [kind @ ("tree" | "revision"), revision]) => {
            match (state.repos[id].at(revision), *kind) {
                (None, _) => Response::error(404, "RevisionNotFound", "Invalid rev id"),
                (Some((_, files)), "tree") => files::tree(files, &state.hub, request, state.page),
                (Some((hash, files)), _) => Response::json(200, &info(id, hash, files)),
            }
        }
        ("GET", ["xet-write-token" | "xet-read-token", _]) => match &state.cas {
            Some(cas) => Response::json(
                200,
                &json!({"accessToken": "x", "exp": 4_000_000_000u64, "casUrl": cas}),
            )
            .with("X-Xet-Cas-Url", cas)
            .with("X-Xet-Access-Token", "x")
            .with("X-Xet-Token-Expiration", "4000000000"),
            None => Response::error(404, "", "no xet here"),
        },
        ("GET", []) => match state.repos[id].at("main") {
            Some((hash, files)) => Response::json(200, &info(id, hash, files)),
            None => Response::error(404, "RevisionNotFound", "Invalid rev id"),
        },
        _ => Response::error(404, "", "no such address"),
    }
}

fn info(id: &str, hash: &str, files: &super::state::Files) -> Value {
    let siblings: Vec<_> = files.keys().map(|name| json!({"rfilename": name})).collect();
    json!({
        "_id": "1", "id": id, "modelId": id, "sha": hash, "private": false, "tags": [],
        "downloads": 0, "likes": 0, "siblings": siblings
    })
}
