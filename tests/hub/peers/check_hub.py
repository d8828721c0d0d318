"""Python's client and ours on one hub: check_hub.py URL FOLDER_OF_OUR_PROGRAMS"""
import filecmp
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

URL, PROGRAMS = sys.argv[1], Path(sys.argv[2]).resolve()
ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_of_the_test_hub"
WORK = Path(tempfile.mkdtemp())
os.environ |= {"HF_ENDPOINT": URL, "HF_HOME": str(WORK / "home"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
               "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
os.environ.pop("HF_HUB_OFFLINE", None)

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, snapshot_download  # noqa: E402
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError  # noqa: E402
from PIL import Image  # noqa: E402

api = HfApi(endpoint=URL, token=TOKEN)


def shown(what):
    print(f"ok  {what}", flush=True)


def ours(program, *args, code=0, **env):
    done = subprocess.run([PROGRAMS / program, *map(str, args)], capture_output=True, text=True,
                          env=os.environ | env)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def same(one, other, names):
    match, mismatch, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    assert not mismatch and not errors, (mismatch, errors)


def wait_for_server():
    for _ in range(600):
        try:
            return urllib.request.urlopen(f"{URL}/api/whoami-v2", timeout=1).close()
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{URL}: no answer")


def images(folder):
    """Two domains, two classes."""
    rng = random.Random(0)
    for env in ("day", "night"):
        for name, base in (("dark", 40), ("light", 200)):
            (folder / env / name).mkdir(parents=True)
            for i in range(6):
                colour = tuple(base + rng.randrange(30) for _ in range(3))
                Image.new("RGB", (64, 64), colour).save(folder / env / name / f"{i}.png")
    return folder


def python_pushes_we_pull():
    api.create_repo("me/tiny", exist_ok=True)
    api.create_repo("me/tiny", exist_ok=True)
    api.upload_folder(repo_id="me/tiny", folder_path=ROOT / "models/tiny", commit_message="a backbone")
    folder = ours("moa-infer", "pull", "me/tiny").split("\t")[1].strip()
    same(ROOT / "models/tiny", folder, ["config.json", "model.safetensors"])
    shown("Python pushes, we pull: the same bytes")
    return Path(folder)


def caches_are_shared(folder):
    found = snapshot_download("me/tiny", local_files_only=True)
    assert Path(found) == folder, (found, folder)
    shown("Python reads our cache without network")
    os.environ["HF_HOME"] = str(WORK / "python")  # read when the process of ours starts
    cache = WORK / "python/hub"
    snapshot_download("me/tiny", cache_dir=cache)
    text = ours("moa-infer", "pull", "me/tiny", HF_HUB_OFFLINE="1")
    assert str(cache) in text, text
    before = sorted(cache.rglob("*"))
    ours("moa-infer", "pull", "me/tiny")
    assert sorted(cache.rglob("*")) == before
    shown("we read Python's cache without network, and find nothing to fetch with it")


def we_push_python_pulls(data):
    run = WORK / "run"
    ours("moa-train", "fit", "--data", data, "--test-env", "night", "--backbone", "me/tiny", "--method", "lora",
         "--out", run, "--device", "cpu", "--set", "train.steps=2", "--set", "train.batch_per_env=2")
    ours("moa-train", "push", run, "--repo", "me/adapter", "--create", "--license", "apache-2.0")
    folder = Path(snapshot_download("me/adapter", cache_dir=WORK / "third"))
    same(run / "best", folder, ["adapter_model.safetensors", "moa.json"])
    shown("we push, Python pulls: the same bytes")
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == "me/tiny" and card.data.license == "apache-2.0", card.data
    assert card.data.library_name == "peft" and card.data.metrics == ["accuracy"], card.data
    results = card.data.eval_results
    assert [r.dataset_config for r in results] == ["day", "night"], results
    assert all(0 <= r.metric_value <= 1 for r in results), results
    shown("Python reads the model card, with its results")
    ours("moa-infer", "predict", "me/adapter", data / "day", "--json")
    ours("moa-infer", "predict", "me/adapter", data / "day", "--json", HF_HUB_OFFLINE="1")
    shown("we predict with it by its name, then without network")
    return run


def refusals(run):
    text = ours("moa-train", "push", run, "--repo", "me/adapter", "--license", "mit", code=1, HF_TOKEN="hf_wrong")
    assert "refuses the token" in text and "hf_wrong" not in text, text
    try:
        HfApi(endpoint=URL, token="hf_wrong").whoami()
    except HfHubHTTPError as error:
        assert error.response.status_code == 401
    try:
        snapshot_download("me/none", cache_dir=WORK / "fourth")
        raise SystemExit("me/none was found")
    except RepositoryNotFoundError:
        pass
    assert "no such repository" in ours("moa-infer", "pull", "me/none", code=1)
    head = api.repo_info("me/adapter").sha
    commit(head, "one")
    try:
        commit(head, "two")
        raise SystemExit("a stale parent was taken")
    except HfHubHTTPError as error:
        assert error.response.status_code == 412, error
    shown("a wrong token, no repository, a stale parent: both clients are refused")


def commit(parent, text):
    add = CommitOperationAdd("notes.txt", text.encode())
    return api.create_commit("me/adapter", [add], commit_message=text, parent_commit=parent)


def race(run):
    wins = {"both": 0, "one": 0}
    for i in range(20):
        failed = []
        head = api.repo_info("me/adapter").sha

        def python():
            time.sleep(0.002 * i)
            try:
                commit(head, f"race {i}")
            except HfHubHTTPError as error:
                assert error.response.status_code == 412, error
                failed.append("python")

        thread = threading.Thread(target=python)
        thread.start()
        done = subprocess.run([PROGRAMS / "moa-train", "push", run, "--repo", "me/adapter", "--license", f"cc-{i}"],
                              capture_output=True, text=True, env=os.environ)
        thread.join()
        if done.returncode:
            assert "got another commit meanwhile" in done.stderr, done.stderr
            failed.append("ours")
        assert len(failed) < 2, "both were refused"
        wins["one" if failed else "both"] += 1
    shown(f"two pushers at once, twenty times: both commits {wins['both']}, one clear refusal {wins['one']}")


if __name__ == "__main__":
    wait_for_server()
    data = images(WORK / "data")
    caches_are_shared(python_pushes_we_pull())
    run = we_push_python_pulls(data)
    refusals(run)
    race(run)
