"""Reads the event files of `moa-train report DIR --tensorboard LOGS` with TensorBoard's own package, and compares them with
the runs' logs.

    pip install tensorboard
    python tests/report/check_tensorboard.py DIR LOGS
"""
import json
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    runs, logs = Path(sys.argv[1]), Path(sys.argv[2])
    compared = 0
    for folder in sorted(logs.iterdir()):
        found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
        lines = [json.loads(line) for line in (runs / folder.name / "events.jsonl").read_text().splitlines()]
        wanted = {}
        for line in lines:
            if line["kind"] == "step":
                for key in ("loss", "ce", "balance", "grad_norm", "lr", "images_per_s"):
                    wanted.setdefault(f"train/{key}", []).append((line["step"] + 1, line[key]))
                for layer, counts in line["usage"].items():
                    for expert, count in enumerate(counts):
                        wanted.setdefault(f"experts/{layer}/{expert}", []).append((line["step"] + 1, count / sum(counts)))
            if line["kind"] == "eval":
                wanted.setdefault("accuracy/validation", []).append((line["step"] + 1, line["train_out"]))
                for env, parts in line["envs"].items():
                    for part, value in parts.items():
                        if value is not None:
                            wanted.setdefault(f"accuracy/{env}/{part}", []).append((line["step"] + 1, value))
        assert set(found.Tags()["scalars"]) == set(wanted), set(wanted) ^ set(found.Tags()["scalars"])
        for tag, values in wanted.items():
            read = [(event.step, event.value) for event in found.Scalars(tag)]
            assert len(read) == len(values), tag
            for (step, value), (wanted_step, wanted_value) in zip(read, values):
                assert step == wanted_step and abs(value - wanted_value) <= 1e-6 * max(1, abs(wanted_value)), tag
                compared += 1
    print(f"{compared} values of {len(list(logs.iterdir()))} runs: the same")


main()
