"""Uploads through xet, with xet-core's own server: check_xet.py URL FOLDER_OF_OUR_PROGRAMS

MOA_HUB_CAS names the server (`cargo install xet-client --features simulation`, then `local_cas_server --in-memory`).
"""
import os
import urllib.request
from pathlib import Path

import check_hub
from check_hub import ROOT, TOKEN, URL, WORK, api, images, ours, same, shown, wait_for_server

import hf_xet
from huggingface_hub import constants, snapshot_download

CAS = os.environ["MOA_HUB_CAS"]
constants.HF_HUB_DISABLE_XET = False
os.environ.pop("HF_HUB_DISABLE_XET")


def tell_names(folder):
    """The real Hub learns a file's name in xet from the storage; the test hub from us."""
    for path in folder.glob("*.safetensors"):
        [info] = hf_xet.hash_files([str(path)])
        sha256 = __import__("hashlib").sha256(path.read_bytes()).hexdigest()
        request = urllib.request.Request(f"{URL}/test/xet/{sha256}/{info.hash}", b"{}",
                                         {"Authorization": f"Bearer {TOKEN}"})
        urllib.request.urlopen(request).close()
        size = urllib.request.urlopen(f"{CAS}/simulation/files/{info.hash}/data").read()
        assert size == path.read_bytes(), "xet holds other bytes"


wait_for_server()
tiny = ROOT / "models/tiny"
api.create_repo("me/tiny")
api.upload_folder(repo_id="me/tiny", folder_path=tiny)
tell_names(tiny)
folder = ours("moa-infer", "pull", "me/tiny").split("\t")[1].strip()
same(tiny, folder, ["config.json", "model.safetensors"])
shown("Python pushes through xet, we pull: the same bytes")
data, run = images(WORK / "data"), WORK / "run"
ours("moa-train", "fit", "--data", data, "--test-env", "night", "--backbone", "me/tiny", "--method", "lora-moa",
     "--out", run, "--device", "cpu", "--set", "train.steps=2", "--set", "train.batch_per_env=2")
ours("moa-train", "push", run, "--repo", "me/adapter", "--create", "--license", "apache-2.0")
tell_names(run / "best")
shown("we push through xet: the storage has the same bytes")
found = Path(snapshot_download("me/adapter", cache_dir=WORK / "third"))
same(run / "best", found, ["adapter_model.safetensors", "moa.json"])
shown("we push through xet, Python pulls through xet: the same bytes")
text = ours("moa-train", "push", run, "--repo", "me/adapter", "--license", "apache-2.0")
shown("the same again: no commit")
