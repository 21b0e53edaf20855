"""DFR's last layer against scikit-learn.

usage: dfr_reference.py GROUPDISTIL_BINARY
       dfr_reference.py GROUPDISTIL_BINARY DATASET BASE_RUN REFIT_RUN

Two classes: LogisticRegression(penalty="l1", solver="liblinear"), which is what the public code of DFR calls; it penalises the intercept.
More classes: solver="saga" with softmax on features with a constant 1 and no intercept of its own, so the constant is penalised as well.
With a RUN: its weights and logits are what the recorded penalty gives, and the recorded figures are those of its predictions.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")


def lasso(solver, c, **more):
    # scikit-learn 1.8 writes the penalty as l1_ratio.
    settings = dict(C=c, solver=solver, tol=1e-10, max_iter=200_000, random_state=0, **more)
    return LogisticRegression(l1_ratio=1.0, **settings)


def refit(binary, x, y, classes, c):
    with tempfile.TemporaryDirectory() as folder:
        given, out = os.path.join(folder, "in.json"), os.path.join(folder, "out.json")
        with open(given, "w") as file:
            json.dump({"features": x.tolist(), "labels": y.tolist(), "classes": classes, "c": c}, file)
        subprocess.run([binary, "debug", "refit", given, "--out", out, "-q"], check=True, stdout=subprocess.DEVNULL)
        with open(out) as file:
            found = json.load(file)
    assert found["violation"] < 1e-7, found["violation"]
    return np.array(found["weights"]), np.array(found["intercepts"])


def cost(x, y, w, b, c):
    z = x @ w.T + b
    m = z.max(1, keepdims=True)
    ce = m[:, 0] + np.log(np.exp(z - m).sum(1)) - z[np.arange(len(y)), y]
    return np.abs(w).sum() + np.abs(b).sum() + c * ce.sum()


def solver(binary):
    rng = np.random.default_rng(7)
    for n, f, classes in [(40, 5, 2), (200, 30, 2), (60, 144, 2), (150, 12, 3), (120, 40, 5)]:
        x = rng.normal(size=(n, f)) * rng.uniform(0.5, 2, size=f)
        y = (x[:, :classes] + rng.normal(size=(n, classes))).argmax(1)
        for c in (0.01, 0.1, 1.0, 10.0):
            w, b = refit(binary, x, y, classes, c)
            if classes == 2:
                model = lasso("liblinear", c).fit(x, y)
                other = cost(x, y, np.vstack([0 * model.coef_, model.coef_]), np.append(0, model.intercept_), c)
                np.testing.assert_allclose(w[1], model.coef_[0], atol=2e-5)
                np.testing.assert_allclose(b[1], model.intercept_[0], atol=2e-5)
                assert not w[0].any() and b[0] == 0
            else:
                one = np.hstack([x, np.ones((n, 1))])
                model = lasso("saga", c, fit_intercept=False).fit(one, y)
                other = cost(x, y, model.coef_[:, :-1], model.coef_[:, -1], c)
                np.testing.assert_allclose(x @ w.T + b - (x @ w.T + b)[:, :1], one @ (model.coef_ - model.coef_[:1]).T, atol=5e-3)
            mine = cost(x, y, w, b, c)
            # The minimum is one, whoever finds it; ours may not lie above.
            assert mine <= other * (1 + 1e-9) and abs(mine - other) <= 1e-6 * other, (n, f, classes, c, mine, other)
        print(f"{n} samples, {f} features, {classes} classes agree with scikit-learn")


def run(binary, dataset, base, refit_run):
    import pyarrow.parquet as pq
    import torch
    from small_resnets import COMPACT, SmallResNet
    from safetensors.torch import load_file

    with open(os.path.join(refit_run, "run.json")) as file:
        info = json.load(file)
    before, after = (load_file(os.path.join(folder, "weights.safetensors")) for folder in (base, refit_run))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}, changed
    assert [trial["c"] for trial in info["dfr"]["tried"]] == sorted(trial["c"] for trial in info["dfr"]["tried"])
    chosen = max(trial["worst_group_accuracy"] for trial in info["dfr"]["tried"])
    kept = next(trial for trial in info["dfr"]["tried"] if trial["c"] == info["dfr"]["c"])
    assert kept["worst_group_accuracy"] == chosen
    # The network in Python, with the refit layer, gives the recorded logits.
    classes, (channels, _, _) = info["classes"], info["image_shape"]
    network = SmallResNet(COMPACT, channels, len(classes)).eval()
    network.load_state_dict(after)
    rows = pq.read_table(os.path.join(refit_run, "predictions.parquet")).to_pylist()
    samples = {row["sample_id"]: row for row in pq.read_table(os.path.join(dataset, "samples.parquet")).to_pylist()}
    images = {}
    for row in rows:
        place = samples[row["sample_id"]]
        shard = images.setdefault(place["shard"], np.load(os.path.join(dataset, f"images-{place['shard']:05d}.npy")))
        row["image"] = shard[place["row"]]
    x = torch.tensor(np.stack([row["image"] for row in rows]).astype(np.float32))
    shape = (1, channels, 1, 1)
    x = (x - torch.tensor(info["mean"], dtype=torch.float32).view(shape)) / torch.tensor(info["std"], dtype=torch.float32).view(shape)
    with torch.no_grad():
        logits = network(x).numpy()
    recorded = np.array([[row[f"logit_{name}"] for name in classes] for row in rows])
    np.testing.assert_allclose(logits, recorded, rtol=1e-3, atol=1e-3)
    if info["dfr"]["subsets"] == 1 and info["objective"] == "dfr-train" and len(set(info["train_counts"].values())) == 1:
        # Groups of one size: the one subset is the whole training split, so scikit-learn can be given the very same data.
        with torch.no_grad():
            network.fc = torch.nn.Identity()
            h = network(x).numpy().astype(float)
        train = np.array([row["split"] == "train" for row in rows])
        y = np.array([classes.index(row["label"]) for row in rows])
        mean, std = h[train].mean(0), h[train].std(0)
        std[std == 0] = 1
        model = lasso("liblinear", info["dfr"]["c"]).fit(((h - mean) / std)[train], y[train])
        expected = ((h - mean) / std) @ model.coef_[0] + model.intercept_[0]
        np.testing.assert_allclose(recorded[:, 1] - recorded[:, 0], expected, atol=5e-3)
        print("the refit layer is scikit-learn's")
    print("the run agrees")


if len(sys.argv) == 2:
    solver(sys.argv[1])
else:
    run(*sys.argv[1:])
