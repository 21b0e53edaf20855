"""Opens every file of a pipeline's output without the program and compares the networks' outputs.

usage: open_everything.py OUT
"""

import csv
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

from networks import twin

IMAGE_COLUMNS = ["sample_id", "shard", "row"]


def read_json(path, kind):
    content = json.loads(path.read_text())
    assert content["schema"] == f"groupdistil.{kind}/1", (path, content["schema"])
    return content


def check_cohort(folder):
    counts = read_json(folder / "cohort.json", "cohort")["counts"]
    stacks = pq.read_table(folder / "stacks.parquet")
    frames = pq.read_table(folder / "frames.parquet")
    ledger = pq.read_table(folder / "ledger.parquet")
    assert stacks.num_rows == counts["stacks"] and frames.num_rows == counts["frames"]
    assert ledger.num_rows == counts["files"] == len(set(ledger["path"].to_pylist()))
    grid = sum(s * p for s, p in zip(stacks["slices"].to_pylist(), stacks["phases"].to_pylist()))
    assert grid == frames.num_rows, "slices x phases of all stacks are the frames"
    with open(folder / "ledger.csv", newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == ledger["path"].to_pylist()
    groups = read_json(folder / "groups.json", "groups")
    assert [group["index"] for group in groups["groups"]] == list(range(len(groups["groups"])))
    order = list(zip(stacks["subject_id"].to_pylist(), stacks["stack_id"].to_pylist()))
    assert order == sorted(order), "rows sorted by subject and stack"


def load_dataset(folder):
    dataset = read_json(folder / "dataset.json", "dataset")
    json.loads((folder / "plan.json").read_text())
    samples = pq.read_table(folder / "samples.parquet")
    shards = [np.load(folder / shard["file"], mmap_mode="r") for shard in dataset["shards"]]
    shape = [dataset["image"][name] for name in ("channels", "height", "width")]
    assert all(shard.dtype == np.float16 and list(shard.shape[1:]) == shape for shard in shards)
    places = zip(*(samples[name].to_pylist() for name in IMAGE_COLUMNS))
    images = {sample: torch.from_numpy(shards[shard][row].astype(np.float32)) for sample, shard, row in places}
    split_of = {}
    for subject, split in zip(samples["subject_id"].to_pylist(), samples["split"].to_pylist()):
        assert split_of.setdefault(subject, split) == split, "a subject is in one split"
    return images


def check_run(folder, images):
    run = read_json(folder / "run.json", "run")
    network = twin(run["architecture"], run["image_shape"][0], len(run["classes"]))
    network.load_state_dict(load_file(folder / "weights.safetensors"), strict=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == run["parameters"]
    predictions = pq.read_table(folder / "predictions.parquet")
    samples = predictions["sample_id"].to_pylist()
    x = torch.stack([images[sample] for sample in samples])
    mean, std = (torch.tensor(run[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        logits = torch.cat([network.eval()(part) for part in ((x - mean) / std).split(64)])
    found = np.stack([predictions[f"logit_{label}"].to_numpy() for label in run["classes"]], axis=1)
    np.testing.assert_allclose(found, logits.numpy(), rtol=1e-5, atol=1e-5 * max(1.0, np.abs(found).max()))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    best = [line for line in lines if line["split"] == "val" and line["epoch"] == run["best_epoch"]]
    assert best and best[-1]["accuracy"] == run["final"]["val"]["accuracy"]
    truth = np.array([run["classes"].index(label) for label in predictions["label"].to_pylist()])
    for split, final in run["final"].items():
        rows = np.array(predictions["split"].to_pylist()) == split
        accuracy = (found[rows].argmax(1) == truth[rows]).mean()
        assert abs(accuracy - final["accuracy"]) < 1e-12, (folder, split)
    return x, found


def check_model(path, x, logits):
    extra = {"groupdistil.json": ""}
    model = torch.jit.load(path, _extra_files=extra)
    metadata = json.loads(extra["groupdistil.json"])
    assert metadata["schema"] == "groupdistil.model/1"
    with torch.no_grad():
        # Two batch sizes.
        found = torch.cat([model(x[:1]), model(x[1:8])]).numpy()
    np.testing.assert_allclose(found, logits[:8], rtol=1e-5, atol=1e-5 * max(1.0, np.abs(logits).max()))


def main():
    out = pathlib.Path(sys.argv[1])
    check_cohort(out / "cohort")
    images = load_dataset(out / "dataset")
    pipeline = read_json(out / "pipeline.json", "pipeline")
    exported = None
    for method in pipeline["methods"]:
        checked = check_run(out / "runs" / method["name"], images)
        exported = exported or checked
    check_model(str(out / "model.pt"), *exported)
    read_json(out / "report" / "audit.json", "audit")
    with open(out / "report" / "audit.csv", newline="") as file:
        assert list(csv.DictReader(file))
    print("everything opens")


if __name__ == "__main__":
    main()
