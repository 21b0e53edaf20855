"""The phantom's labels, splits and exclusions as truth.json has them; opened with pyarrow and numpy alone.

usage: dataset_of_phantom.py PHANTOM COHORT DATASET
"""

import collections
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet as pq


def main():
    phantom, cohort, dataset = map(pathlib.Path, sys.argv[1:])
    truth = json.loads((phantom / "truth.json").read_text())
    expected = collections.Counter((one["site"].removeprefix("phantom-"), one["label"], one["split"]) for one in truth["subjects"])
    samples = pq.read_table(dataset / "samples.parquet").to_pylist()
    by_subject = {row["subject_id"]: (row["site"], row["label"], row["split"]) for row in samples}
    assert collections.Counter(by_subject.values()) == expected
    stacks = {row["stack_id"]: row for row in pq.read_table(cohort / "stacks.parquet").to_pylist()}
    assert all(stacks[row["stack_id"]]["view"] == "sax" for row in samples)
    exclusions = pq.read_table(dataset / "exclusions.parquet").to_pylist()
    assert {row["stack_id"] for row in exclusions} | {row["stack_id"] for row in samples} == set(stacks)
    images = np.concatenate([np.load(path) for path in sorted(dataset.glob("images-*.npy"))])
    assert images.dtype == np.float16 and len(images) == len(samples)
    assert np.isfinite(images.astype(np.float32)).all()
    # Z-scores: no image is empty.
    assert (images.astype(np.float32).std(axis=(2, 3)) > 0.1).all()
    print(len(samples), "samples")


if __name__ == "__main__":
    main()
