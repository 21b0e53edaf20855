"""An independent float64 reference of the training objectives (design, section 4) on PyTorch autograd.

usage: objective_reference.py GROUPDISTIL_BINARY

Replays 200 random steps per variant (absent groups, logits of +-1000) and hand cases through `groupdistil debug objective` and
compares losses, gradients and q: float64 within 1e-10 relative, float32 within rtol 1e-5 + atol 1e-6.
"""

import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)


def reference(case):
    """Losses, gradients and q per step, written from the formulas of the design."""
    counts = torch.tensor(case["train_counts"], dtype=torch.float64)
    groups_total = len(counts)
    q = torch.full((groups_total,), 1.0 / groups_total)
    log_q = torch.log(q)
    T, a, eta = case["temperature"], case["alpha"], case["eta"]
    extra = case["adjustment"] / torch.sqrt(counts)
    results = []
    for step in case["steps"]:
        z = torch.tensor(step["logits"], requires_grad=True)
        y, g = torch.tensor(step["labels"]), torch.tensor(step["groups"])
        ce = F.cross_entropy(z, y, reduction="none")
        kd = None
        if case["objective"] in ("kd", "group-distil", "agre-kd"):
            teachers = [torch.tensor(t) for t in [step["teacher_logits"], *step.get("more_teacher_logits", [])]]
            if case["objective"] == "agre-kd":
                kd = agreed(z, teachers, torch.tensor(step["biased_logits"]), T)
            elif len(teachers) > 1:
                soft = torch.stack([F.softmax(t / T, 1) for t in teachers]).mean(0)
                kd = T * T * (torch.special.xlogy(soft, soft) - soft * F.log_softmax(z / T, 1)).sum(1)
            else:
                kd = divergence(z, teachers[0], T)
        objective, scope = case["objective"], case["scope"]
        if objective in ("erm", "jtt", "dfr-val"):
            loss = ce.mean()
        elif objective in ("kd", "agre-kd"):
            loss = (1 - a) * ce.mean() + a * kd.mean()
        else:
            if objective == "group-dro":
                x = ce
            elif scope == "distillation":
                x = kd
            else:
                x = (1 - a) * ce + a * kd
            means, present = [], []
            for group in range(groups_total):
                mask = g == group
                present.append(bool(mask.any()))
                means.append(x[mask].mean() if present[-1] else torch.tensor(0.0))
            L = torch.stack(means)
            u = log_q + eta * (L.detach() + extra)
            if case["absent"] == "zero":
                log_q = u - torch.logsumexp(u, 0)
            else:
                P = torch.tensor(present)
                new = log_q.clone()
                new[P] = u[P] - torch.logsumexp(u[P], 0) + torch.logsumexp(log_q[P], 0)
                log_q = new
            used = (1 - groups_total * case["floor"]) * torch.exp(log_q) + case["floor"]
            weighted = (used * L).sum()
            loss = (1 - a) * ce.mean() + a * weighted if objective == "group-distil" and scope == "distillation" else weighted
        loss.backward()
        results.append(
            {
                "loss": loss.item(),
                "ce": ce.detach().numpy(),
                "kd": kd.detach().numpy() if kd is not None else np.zeros(0),
                "gradient": z.grad.numpy(),
                "q": torch.exp(log_q).numpy(),
            }
        )
    return results


def divergence(z, t, T):
    # torch's own KL: target given as logarithms, summed over classes.
    return T * T * F.kl_div(F.log_softmax(z / T, 1), F.log_softmax(t / T, 1), reduction="none", log_target=True).sum(1)


def agreed(z, teachers, biased, T):
    """AGRE-KD, equations 5 and 6, with autograd's gradients of a last layer W h + b that gives z, sample by sample."""
    rng = torch.Generator().manual_seed(1)
    weights = torch.zeros(len(z), len(teachers))
    for i in range(len(z)):
        h = torch.rand(7, generator=rng)
        W = (torch.outer(z[i].detach(), h) / (h @ h)).requires_grad_()
        b = torch.zeros(z.shape[1], requires_grad=True)

        def gradient(t):
            loss = divergence((W @ h + b)[None], t[i][None], T).sum()
            return torch.cat([part.flatten() for part in torch.autograd.grad(loss, (W, b))])

        toward_bias = gradient(biased)
        for number, t in enumerate(teachers):
            w = 1 - F.cosine_similarity(gradient(t), toward_bias, dim=0)
            weights[i, number] = w if w > 1e-12 else 0.0
        if weights[i].sum() == 0:
            weights[i] = 1.0
    weights /= weights.sum(1, keepdim=True)
    return sum(weights[:, number] * divergence(z, t, T) for number, t in enumerate(teachers))


def random_case(rng, objective, scope="distillation", absent="keep", **settings):
    """200 steps; each third batch lacks most groups, some rows are +-1000. Numbers are exact in float32."""
    classes, counts = int(rng.integers(2, 6)), [int(n) for n in rng.integers(1, 500, size=5)]
    teachers, far = settings.pop("teachers", 1), objective != "agre-kd"
    steps = []
    for number in range(200):
        n = int(rng.integers(1, 24))
        # Directions of gradients that are almost 0 are rounding, so agre-kd gets no extremes.
        scale = [0.1, 1.0, 3.0, 20.0][number % 4] if far else [0.5, 1.0, 1.5, 2.0][number % 4]
        logits = rng.normal(size=(n, classes)) * scale
        teacher = rng.normal(size=(n, classes)) * scale
        for array in (logits, teacher) if far else ():
            rows = rng.random(n) < 0.1
            array[rows] = rng.choice([-1000.0, 1000.0], size=(int(rows.sum()), classes))
        highest = 5 if number % 3 else 2
        steps.append(
            {
                "logits": logits.astype(np.float32).astype(float).tolist(),
                "teacher_logits": teacher.astype(np.float32).astype(float).tolist(),
                "labels": rng.integers(0, classes, size=n).tolist(),
                "groups": rng.integers(0, highest, size=n).tolist(),
            }
        )
        another = lambda: (rng.normal(size=(n, classes)) * scale).astype(np.float32).astype(float).tolist()
        if teachers > 1:
            steps[-1]["more_teacher_logits"] = [another() for _ in range(teachers - 1)]
        if objective == "agre-kd":
            steps[-1]["biased_logits"] = another()
    defaults = {"temperature": 2.0, "alpha": 0.7, "eta": 0.02, "adjustment": 0.0, "floor": 0.0}
    case = {"objective": objective, "scope": scope, "absent": absent, **defaults, **settings}
    return {**case, "train_counts": counts, "steps": steps}


def replay(binary, case, folder):
    given, out = os.path.join(folder, "in.json"), os.path.join(folder, "out.json")
    with open(given, "w") as file:
        json.dump(case, file)
    command = [binary, "debug", "objective", given, "--out", out, "-q"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with open(out) as file:
        return json.load(file)


def compare(case, found, name):
    expected = reference(case)
    worst = 0.0
    for step, wanted in enumerate(expected):
        for key, value in wanted.items():
            value = np.asarray(value)
            got64 = np.asarray(found["float64"][step][key]).reshape(value.shape)
            got32 = np.asarray(found["float32"][step][key]).reshape(value.shape)
            # A difference of two numbers of size 1 is uncertain by 1e-16: that much is granted beside the relative bound.
            np.testing.assert_allclose(got64, value, rtol=1e-10, atol=1e-14, err_msg=f"{name}: {key} of step {step}")
            np.testing.assert_allclose(got32, value, rtol=1e-5, atol=1e-6, err_msg=f"{name}: {key} of step {step}, float32")
            if value.size:
                worst = max(worst, float(np.max(np.abs(got64 - value) / np.maximum(np.abs(value), 1e-4))))
        total = sum(found["float64"][step]["q"])
        assert abs(total - 1) < 1e-12, f"{name}: q sums to {total}"
    print(f"{name}: {len(expected)} steps agree, largest relative difference in float64 {worst:.1e}")


def hand_cases(binary, folder):
    """Three samples by hand: two of group 0, one of group 1, equal logits, so ce = ln 2 each."""
    base = {
        "objective": "group-dro",
        "eta": 1.0,
        "train_counts": [4, 1],
        "steps": [{"logits": [[0, 0], [0, 0], [0, math.log(3)]], "labels": [0, 1, 0], "groups": [0, 0, 1]}],
    }
    # Group means ln 2 and ln 4 (softmax of [0, ln 3] is [1/4, 3/4]); q ~ exp(L) = 2 : 4.
    step = replay(binary, base, folder)["float64"][0]
    np.testing.assert_allclose(step["q"], [1 / 3, 2 / 3], rtol=1e-12)
    np.testing.assert_allclose(step["loss"], math.log(2) / 3 + 2 * math.log(4) / 3, rtol=1e-12)
    # d/dz of the third sample: q_1 (p - onehot) = 2/3 (-3/4, 3/4); of the first: q_0/2 (-1/2, 1/2).
    np.testing.assert_allclose(step["gradient"], [[-1 / 12, 1 / 12], [1 / 12, -1 / 12], [-0.5, 0.5]], rtol=1e-12)
    # C/sqrt(n): adds 2 ln 2 / sqrt(4) = ln 2 and 2 ln 2 / 1 = ln 4: q ~ 2*2 : 4*4.
    step = replay(binary, {**base, "adjustment": 2 * math.log(2)}, folder)["float64"][0]
    np.testing.assert_allclose(step["q"], [0.2, 0.8], rtol=1e-12)
    # A floor of 0.1 changes the loss, not q: weights (1 - 0.2) q + 0.1.
    step = replay(binary, {**base, "floor": 0.1}, folder)["float64"][0]
    np.testing.assert_allclose(step["q"], [1 / 3, 2 / 3], rtol=1e-12)
    expected = (0.8 / 3 + 0.1) * math.log(2) + (1.6 / 3 + 0.1) * math.log(4)
    np.testing.assert_allclose(step["loss"], expected, rtol=1e-12)
    # Only group 1 in the batch: keep leaves q as it is, zero moves it to 1 : 4.
    only = [{"logits": [[0, math.log(3)]], "labels": [0], "groups": [1]}]
    step = replay(binary, {**base, "steps": only}, folder)["float64"][0]
    assert step["q"] == replay(binary, {**base, "steps": only}, folder)["q_start"], "a one-group batch changes nothing"
    np.testing.assert_allclose(step["loss"], 0.5 * math.log(4), rtol=1e-12)
    step = replay(binary, {**base, "steps": only, "absent": "zero"}, folder)["float64"][0]
    np.testing.assert_allclose(step["q"], [0.2, 0.8], rtol=1e-12)
    # kd: T = 2, teacher even, student softmax(z/2) = (1/4, 3/4): 4 (0.5 ln 2 + 0.5 ln 2/3) = 2 ln 4/3.
    kd = {
        "objective": "kd",
        "temperature": 2.0,
        "alpha": 1.0,
        "train_counts": [1],
        "steps": [
            {"logits": [[0, 2 * math.log(3)]], "teacher_logits": [[7, 7]], "labels": [0], "groups": [0]}
        ],
    }
    step = replay(binary, kd, folder)["float64"][0]
    np.testing.assert_allclose(step["loss"], 2 * math.log(4 / 3), rtol=1e-12)
    # T (p - t) = 2 (1/4 - 1/2, 3/4 - 1/2).
    np.testing.assert_allclose(step["gradient"], [[-0.5, 0.5]], rtol=1e-12)
    # Two teachers that say the opposite: their mean is even, as the student is.
    opposite = {"logits": [[0, 0]], "teacher_logits": [[math.log(3), 0]], "more_teacher_logits": [[[0, math.log(3)]]]}
    step = replay(binary, {**kd, "temperature": 1.0, "steps": [{**opposite, "labels": [0], "groups": [0]}]}, folder)["float64"][0]
    np.testing.assert_allclose([step["loss"], *step["gradient"][0]], 0, atol=1e-15)
    # agre-kd, three samples, two classes, an even student: teachers (3/4, 1/4) and (1/10, 9/10). Where the biased network leans to the first
    # class only the second teacher counts, where to the second only the first; where both lean with it they count alike.
    one, two = 0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.1 * math.log(0.2) + 0.9 * math.log(1.8)
    first, second = [math.log(3), 0], [0, math.log(9)]
    agre = {
        "objective": "agre-kd",
        "alpha": 1.0,
        "train_counts": [1],
        "steps": [
            {
                "logits": [[0, 0]] * 3,
                "teacher_logits": [first, first, second],
                "more_teacher_logits": [[second, second, second]],
                "biased_logits": [[2, 0], [0, 1], [0, 5]],
                "labels": [0, 0, 0],
                "groups": [0, 0, 0],
            }
        ],
    }
    for path in ("float64", "float32"):
        step = replay(binary, agre, folder)[path][0]
        np.testing.assert_allclose(step["kd"], [two, one, two], rtol=1e-6 if path == "float32" else 1e-12)
    print("hand cases agree")


def main():
    binary = sys.argv[1]
    rng = np.random.default_rng(20231)
    variants = [("erm", {}), ("kd", {}), ("kd", {"temperature": 4.0, "alpha": 1.0})]
    for absent in ("keep", "zero"):
        variants.append(("group-dro", {"absent": absent, "adjustment": 1.5}))
        for scope in ("distillation", "total"):
            variants.append(("group-distil", {"absent": absent, "scope": scope}))
    variants.append(("group-dro", {"floor": 0.05, "eta": 0.1}))
    variants.append(("group-distil", {"floor": 0.1, "adjustment": 2.0, "temperature": 4.0}))
    variants += [("jtt", {}), ("dfr-val", {}), ("kd", {"teachers": 3}), ("group-distil", {"teachers": 2, "scope": "total"})]
    variants += [("agre-kd", {"teachers": teachers, "alpha": alpha}) for teachers, alpha in ((1, 1.0), (3, 1.0), (4, 0.6))]
    with tempfile.TemporaryDirectory() as folder:
        hand_cases(binary, folder)
        for objective, settings in variants:
            case = random_case(rng, objective, **dict(settings))
            compare(case, replay(binary, case, folder), f"{objective} {settings}")


main()
