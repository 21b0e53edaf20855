"""evidence.json of a study against numpy over predictions.parquet, scipy's t interval and the runs' own validation.

usage: evidence_reference.py OUT
"""

import collections
import json
import math
import pathlib
import sys

import numpy as np
import pyarrow.parquet as parquet
from scipy import stats


def test_rows(run):
    table = parquet.read_table(run / "predictions.parquet").to_pylist()
    return [row for row in table if row["split"] == "test"]


def softmax(logits):
    shifted = np.exp(np.array(logits, dtype=np.float64) - max(logits))
    return shifted / shifted.sum()


def accuracies(rows, classes):
    """Plain mean, mean of groups and worst group, per sample and per subject (mean softmax over a stack, then over stacks)."""
    logits = lambda row: [row[f"logit_{name}"] for name in classes]
    samples, stacks = collections.defaultdict(list), collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        samples[row["group"]].append(classes[int(np.argmax(logits(row)))] == row["label"])
        stacks[row["group"], row["subject_id"], row["label"]][row["stack_id"]].append(softmax(logits(row)))
    subjects = collections.defaultdict(list)
    for (group, _, label), of_subject in stacks.items():
        mean = np.mean([np.mean(of_stack, axis=0) for of_stack in of_subject.values()], axis=0)
        subjects[group].append(classes[int(np.argmax(mean))] == label)

    def figures(groups):
        means = [np.mean(group) for group in groups.values()]
        return np.mean(np.concatenate(list(groups.values()))), np.mean(means), min(means)

    return {"sample": figures(samples), "subject": figures(subjects)}


def counts(rows, classes):
    """Right answers and all, per subject and group, and the group that each subject is drawn within: its first."""
    subjects, groups = (sorted({row[name] for row in rows}) for name in ["subject_id", "group"])
    right, total = np.zeros((2, len(subjects), len(groups)))
    for row in rows:
        at = subjects.index(row["subject_id"]), groups.index(row["group"])
        total[at] += 1
        right[at] += classes[int(np.argmax([row[f"logit_{name}"] for name in classes]))] == row["label"]
    return right, total, np.argmax(total > 0, axis=1)


def drawn_worst(seeds, times):
    """Worst group per sample of every replicate, averaged over the seeds."""
    worst = [np.min((drawn @ right) / (drawn @ total), axis=1) for (right, total, _), drawn in zip(seeds, times)]
    return np.mean(worst, axis=0)


def draws(seeds, replicates, generator):
    """How often each subject is drawn, a row per replicate: as many of each group as there are."""
    times = [np.zeros((replicates, len(strata))) for _, _, strata in seeds]
    for drawn, (_, _, strata) in zip(times, seeds):
        for stratum in set(strata):
            members = np.flatnonzero(strata == stratum)
            drawn[:, members] = generator.multinomial(len(members), np.full(len(members), 1 / len(members)), replicates)
    return times


def close(found, expected, what):
    assert math.isclose(found, expected, abs_tol=1e-9), f"{what}: {found}, expected {expected}"


def validation_worst(run):
    info = json.loads((run / "run.json").read_text())
    if "dfr" in info and info["dfr"]:
        return next(tried for tried in info["dfr"]["tried"] if tried["c"] == info["dfr"]["c"])["worst_group_accuracy"]
    return info["final"]["val"]["worst_group_accuracy"]


def main():
    out = pathlib.Path(sys.argv[1])
    evidence = json.loads((out / "evidence.json").read_text())
    found = {}
    for arm in evidence["arms"]:
        for at, trial in enumerate(arm["trials"]):
            runs = [out / f"seed-{seed}/tuning/{arm['name']}/trial-{at + 1}" for seed in evidence["tuning_seeds"]]
            close(trial["mean_worst_group_accuracy"], np.mean([validation_worst(run) for run in runs]), arm["name"])
        best = max(trial["mean_worst_group_accuracy"] for trial in arm["trials"])
        close(arm["trials"][arm["chosen"]]["mean_worst_group_accuracy"], best, "the chosen trial")
        for seed in arm["seeds"]:
            run = out / f"seed-{seed['seed']}/final/{arm['name']}"
            classes = json.loads((run / "run.json").read_text())["classes"]
            for level, values in accuracies(test_rows(run), classes).items():
                for name, value in zip(["accuracy", "mean_group_accuracy", "worst_group_accuracy"], values):
                    close(seed[level][name], value, f"{arm['name']} {level} {name}")
                found[arm["name"], level, seed["seed"]] = values
    for arm in evidence["arms"]:
        for level in ["sample", "subject"]:
            for difference in arm[level]["worst_group_differences"]:
                paired = [
                    found[arm["name"], level, seed][2] - found[difference["to"], level, seed][2] for seed in evidence["seeds"]
                ]
                close(difference["mean"], np.mean(paired), f"{arm['name']} minus {difference['to']}")
                if np.std(paired) > 0:
                    interval = stats.ttest_1samp(paired, 0).confidence_interval(evidence["confidence"])
                    close(difference["interval"][0], interval.low, "low")
                    close(difference["interval"][1], interval.high, "high")
    check_bootstrap(out, evidence)
    print(len(found), "figures")


def check_bootstrap(out, evidence):
    """Intervals over drawn subjects, against numpy's draws: as many of those lie beyond each end as there should.

    Few subjects have few possible figures, so that an end may lie on many equal ones: those at the end count either way. Chance
    moves the share beyond by some 0.004 (2000 and 4000 replicates).
    """
    of_arm = {}
    for arm in evidence["arms"]:
        runs = [out / f"seed-{seed}/final/{arm['name']}" for seed in evidence["seeds"]]
        classes = json.loads((runs[0] / "run.json").read_text())["classes"]
        of_arm[arm["name"]] = [counts(test_rows(run), classes) for run in runs]
    # The test set of a seed, and so its draws, is that of every arm.
    times = draws(next(iter(of_arm.values())), 4000, np.random.default_rng(0))
    worst = {name: drawn_worst(seeds, times) for name, seeds in of_arm.items()}
    tail = (1 - evidence["confidence"]) / 2
    for arm in evidence["arms"]:
        for difference in arm["sample"]["worst_group_differences"]:
            drawn = worst[arm["name"]] - worst[difference["to"]]
            low, high = difference["subject_interval"]
            tiny = 1e-9
            what = f"{arm['name']} minus {difference['to']}: {low}, {high}, numpy {np.quantile(drawn, [tail, 1 - tail])}"
            assert np.mean(drawn < low - tiny) < tail + 0.015 and np.mean(drawn <= low + tiny) > tail - 0.015, what
            assert np.mean(drawn > high + tiny) < tail + 0.015 and np.mean(drawn >= high - tiny) > tail - 0.015, what


main()
