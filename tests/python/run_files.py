"""Opens everything in a RUN without the program: weights, predictions, metrics, events.

usage: run_files.py DATASET RUN...

Weights load with strict=True into torchvision's network (or the compact twin); its logits of the dataset's images equal
predictions.parquet within 1e-5 (relative to the largest logit); TensorBoard reads the event file.
"""

import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as parquet
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from networks import twin


def images(dataset, rows):
    shards = {shard: np.load(dataset / f"images-{shard:05}.npy") for shard in set(rows["shard"])}
    return torch.from_numpy(np.stack([shards[s][r] for s, r in zip(rows["shard"], rows["row"])]).astype(np.float32))


def check(dataset, run):
    info = json.loads((run / "run.json").read_text())
    rows = parquet.read_table(dataset / "samples.parquet").to_pydict()
    table = parquet.read_table(run / "predictions.parquet")
    found = table.to_pydict()
    assert found["sample_id"] == rows["sample_id"]
    assert table.column_names[-len(info["classes"]):] == [f"logit_{name}" for name in info["classes"]]

    x = images(dataset, rows)
    network = twin(info["architecture"], info["image_shape"][0], len(info["classes"]))
    network.load_state_dict(load_file(run / "weights.safetensors"), strict=True)
    shape = (1, -1, 1, 1)
    mean, std = (torch.tensor(info[name], dtype=torch.float32).view(shape) for name in ("mean", "std"))
    with torch.no_grad():
        expected = network.eval()((x - mean) / std)
    logits = torch.stack([torch.tensor(found[f"logit_{name}"]) for name in info["classes"]], 1)
    scale = expected.abs().max().item()
    difference = (logits - expected).abs().max().item()
    assert difference <= 1e-5 * max(1.0, scale), (difference, scale)

    train = np.array([split == "train" for split in found["split"]])
    pixels = x[train].double()
    np.testing.assert_allclose(info["mean"], pixels.mean((0, 2, 3)), rtol=1e-9)
    np.testing.assert_allclose(info["std"], pixels.std((0, 2, 3), unbiased=False), rtol=1e-9)

    labels = np.array([info["classes"].index(label) for label in found["label"]])
    correct = logits.argmax(1).numpy() == labels
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for split, line in info["final"].items():
        here = np.array([name == split for name in found["split"]])
        assert abs(line["accuracy"] - correct[here].mean()) < 1e-12
        groups = {}
        for name, hit in zip(np.array(found["group"])[here], correct[here]):
            groups.setdefault(name, []).append(hit)
        accuracies = {name: np.mean(hits) for name, hits in groups.items()}
        assert abs(line["worst_group_accuracy"] - min(accuracies.values())) < 1e-12
        assert abs(line["mean_group_accuracy"] - np.mean(list(accuracies.values()))) < 1e-12
        for name, value in accuracies.items():
            assert abs(line["groups"][name]["accuracy"] - value) < 1e-12
    # The selected epoch is the first of the best by worst group, mean of groups, loss.
    val = [line for line in lines if line["split"] == "val"]
    best = max(val, key=lambda v: (v["worst_group_accuracy"], v["mean_group_accuracy"], -v["loss"], -v["epoch"]))
    assert best["epoch"] == info["best_epoch"]
    assert abs(best["loss"] - info["final"]["val"]["loss"]) < 1e-6 * max(1.0, best["loss"])

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("accuracy/val")]
    assert [step for step, _ in written] == [line["step"] for line in val]
    np.testing.assert_allclose([value for _, value in written], [line["accuracy"] for line in val], rtol=1e-6)
    if info["weighted_groups"]:
        last = lines[-1]["groups"]
        for name in info["weighted_groups"]:
            assert abs(events.Scalars(f"q/{name}")[-1].value - last[name]["weight"]) < 1e-6
    print(run.name, info["architecture"], f"largest difference of a logit {difference:.1e} of {scale:.1f}")


if __name__ == "__main__":
    for folder in sys.argv[2:]:
        check(pathlib.Path(sys.argv[1]), pathlib.Path(folder))
