"""Recomputes an audit from predictions.parquet with pandas-free numpy, scikit-learn and scipy, and compares it with audit.json and audit.csv.

usage: audit_reference.py RUN OTHER_RUN REPORT
"""

import csv
import json
import pathlib
import sys

import numpy as np
import pyarrow.parquet
from scipy import special, stats
from sklearn import metrics


def subjects(run):
    """Subject id -> (label, site, vendor, mean probability over stacks of the mean over their samples)."""
    table = pyarrow.parquet.read_table(pathlib.Path(run) / "predictions.parquet").to_pydict()
    classes = [name.removeprefix("logit_") for name in table if name.startswith("logit_")]
    logits = np.array([table[f"logit_{name}"] for name in classes], dtype=np.float64).T
    probabilities = special.softmax(logits, axis=1)
    stacks, facts, samples = {}, {}, []
    for row, split in enumerate(table["split"]):
        if split == "test":
            key = (table["subject_id"][row], table["stack_id"][row])
            stacks.setdefault(key, []).append(probabilities[row])
            label = classes.index(table["label"][row])
            facts[key[0]] = (label, table["site"][row], table["vendor"][row])
            samples.append((label, probabilities[row]))
    found = {}
    for (subject, _), rows in stacks.items():
        found.setdefault(subject, []).append(np.mean(rows, axis=0))
    return classes, {subject: (*facts[subject], np.mean(means, axis=0)) for subject, means in found.items()}, samples


def close(name, found, expected, tolerance=1e-9):
    assert found is not None and abs(found - expected) < tolerance, f"{name}: {found} instead of {expected}"


def check_cell(name, cell, rows, classes):
    label = np.array([row[0] for row in rows])
    p = np.array([row[3] for row in rows])
    predicted = p.argmax(axis=1)
    subject = cell["subject"]
    correct = int((label == predicted).sum())
    assert (subject["correct"], subject["n"]) == (correct, len(rows)), name
    close(name, subject["accuracy"]["value"], metrics.accuracy_score(label, predicted))
    interval = stats.binomtest(correct, len(rows)).proportion_ci(0.95, method="wilson")
    close(name, subject["accuracy"]["interval"]["low"], interval.low)
    close(name, subject["accuracy"]["interval"]["high"], interval.high)
    one_hot = np.eye(len(classes))[label]
    close(name, subject["brier"]["value"], ((p - one_hot) ** 2).sum(axis=1).mean())
    close(name, subject["log_loss"]["value"], metrics.log_loss(label, p, labels=range(len(classes))))
    close(name, subject["confidence_gap"]["value"], p.max(axis=1).mean() - (label == predicted).mean())
    close(name, subject["balanced_accuracy"]["value"], metrics.balanced_accuracy_score(label, predicted))
    recalls = metrics.recall_score(label, predicted, labels=range(len(classes)), average=None, zero_division=np.nan)
    for class_recall, recall in zip(subject["recall"], recalls):
        if class_recall["n"] == 0:
            assert class_recall["recall"]["value"] is None, name
        else:
            close(name, class_recall["recall"]["value"], recall)
    if set(label) == set(range(len(classes))):
        close(name, subject["auroc"]["value"], metrics.roc_auc_score(label, p, multi_class="ovr", average="macro"))
    assert subject["confusion"] == metrics.confusion_matrix(label, predicted, labels=range(len(classes))).tolist(), name


def main(run, other_run, report):
    audit = json.loads((pathlib.Path(report) / "audit.json").read_text())
    assert audit["schema"] == "groupdistil.audit/1"
    classes, found, samples = subjects(run)
    model = audit["models"][0]
    check_cell("overall", model["overall"], list(found.values()), classes)
    right = sum(int(probabilities.argmax() == label) for label, probabilities in samples)
    assert (model["overall"]["sample"]["correct"], model["overall"]["sample"]["n"]) == (right, len(samples))
    checked = 0
    for breakdown in model["breakdowns"]:
        position = {"site": 1, "vendor": 2}.get(breakdown["facet"])
        for cell in breakdown["cells"] if position else []:
            rows = [row for row in found.values() if row[position] == cell["name"]]
            if cell["performance"]:
                check_cell(f"{breakdown['facet']} {cell['name']}", cell["performance"], rows, classes)
                checked += 1
            else:
                assert not rows
    assert checked == 6 + 4, checked

    # The minimum over groups: exact limits from scipy.
    exact, adjusted = [], []
    for site in sorted({row[1] for row in found.values()}):
        outcome = [int(row[3].argmax() == row[0]) for row in found.values() if row[1] == site]
        test = stats.binomtest(sum(outcome), len(outcome))
        exact.append(test.proportion_ci(0.95, method="exact").low)
        adjusted.append(test.proportion_ci(1 - 0.05 / 6, method="exact").high)
    interval = model["subject"]["worst"]["accuracy"]["interval"]
    close("worst low", interval["low"], min(exact))
    close("worst high", interval["high"], min(adjusted))

    # The paired table, and the bootstrap of a difference by an independent resampling (Monte Carlo tolerance).
    _, other, _ = subjects(other_run)
    assert found.keys() == other.keys()
    pairs = [(int(found[s][3].argmax() == found[s][0]), int(other[s][3].argmax() == other[s][0])) for s in found]
    cell = audit["comparisons"][0]["cells"][0]
    assert cell["correct"] == [pairs.count(pair) for pair in [(1, 1), (1, 0), (0, 1), (0, 0)]]
    rng = np.random.default_rng(0)
    sites = {}
    for subject, row in found.items():
        sites.setdefault(row[1], []).append(sum((row[3] - np.eye(len(classes))[row[0]]) ** 2))
    means = []
    for _ in range(4000):
        drawn = [rng.choice(values, len(values)) for values in sites.values()]
        means.append(np.concatenate(drawn).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    interval = model["overall"]["subject"]["brier"]["interval"]
    close("bootstrap low", interval["low"], low, 0.02)
    close("bootstrap high", interval["high"], high, 0.02)

    with open(pathlib.Path(report) / "audit.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    overall = [row for row in rows if (row["model"], row["breakdown"], row["unit"], row["metric"]) == ("student", "overall", "subject", "accuracy") and not row["versus"]]
    assert len(overall) == 1
    close("csv", float(overall[0]["value"]), model["overall"]["subject"]["accuracy"]["value"], 1e-15)


if __name__ == "__main__":
    main(*sys.argv[1:])
