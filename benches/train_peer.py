"""train_peer.py usual|best SPEC: the training that SPEC (JSON) describes, in PyTorch; an epoch for each line on stdin.

usual: a DataLoader with torchvision's transforms, float32. best: all images in memory, changed a batch at a time by torch's operations,
channels-last, bfloat16 autocast, fused AdamW. Both: batches, learning rate, augmentation ranges and loss of `groupdistil train`, a
validation pass and a checkpoint. Prints the seconds of each epoch's parts, and peak resident memory, as JSON lines.
"""

import json
import math
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional
from torchvision import transforms
from torchvision.models import resnet18

sys.path.append(str(Path(__file__).parent.parent / "tests/python"))
from small_resnets import COMPACT, SmallResNet

MODE, SPEC = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
BEST = MODE == "best"
THREADS = 2
WORKERS_TO_TRY = (0, 1, 2)
STEPS_OF_A_TRIAL = 4
# groupdistil's defaults (src/settings/augment.rs).
SHIFT, DEGREES, SCALE, GAMMA, NOISE = 0.06, 12.0, 0.12, 0.25, 0.05


def network(arch, channels, classes):
    if arch == "compact-resnet":
        return SmallResNet(COMPACT, channels, classes)
    net = resnet18(num_classes=classes)
    net.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return net


class Normalised(torch.nn.Module):
    """The network after its input's normalisation."""

    def __init__(self, arch, channels, classes, mean, std):
        super().__init__()
        self.network = network(arch, channels, classes)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x):
        return self.network((x - self.mean) / self.std)


class Dataset(torch.utils.data.Dataset):
    """One image at a time, as most scripts have it."""

    def __init__(self, images, labels, rows, std, train):
        self.images, self.labels, self.rows, self.train = images, labels, rows, train
        self.std = std
        self.affine = transforms.RandomAffine(
            DEGREES, (SHIFT, SHIFT), (1 / (1 + SCALE), 1 + SCALE), interpolation=transforms.InterpolationMode.BILINEAR
        )

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        x = torch.from_numpy(self.images[row].astype(np.float32))
        if self.train:
            x = self.changed(x)
        return x, self.labels[row]

    def changed(self, x):
        x = self.affine(x)
        low, high = x.amin(), x.amax()
        span = (high - low).clamp_min(1e-6)
        exponent = math.exp(GAMMA * (2 * torch.rand(()).item() - 1))
        x = ((x - low) / span).clamp(0, 1) ** exponent * span + low
        return x + torch.randn_like(x) * self.std * NOISE * torch.rand(())


def changed(x, std):
    """The same for a whole batch."""
    n = len(x)
    signed = lambda: 2 * torch.rand(n) - 1
    angle, factor = math.radians(DEGREES) * signed(), torch.exp(math.log(1 + SCALE) * signed())
    cosine, sine, zero = torch.cos(angle) * factor, torch.sin(angle) * factor, 2 * SHIFT
    affine = torch.stack([cosine, -sine, zero * signed(), sine, cosine, zero * signed()], 1).view(n, 2, 3)
    grid = functional.affine_grid(affine, list(x.shape), align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    x = ((x - low) / span).clamp(0, 1) ** torch.exp(GAMMA * signed()).view(n, 1, 1, 1) * span + low
    return x + torch.randn_like(x) * std * (NOISE * torch.rand(n)).view(n, 1, 1, 1)


def loss_of(logits, labels, teacher):
    ce = functional.cross_entropy(logits.float(), labels)
    if teacher is None:
        return ce
    t, alpha = SPEC["temperature"], SPEC["alpha"]
    soft = lambda z: functional.log_softmax(z.float() / t, 1)
    kd = functional.kl_div(soft(logits), soft(teacher), log_target=True, reduction="batchmean") * t * t
    return (1 - alpha) * ce + alpha * kd


class Training:
    """The network, its data and its optimiser."""

    def __init__(self):
        classes = max(SPEC["labels"]) + 1
        self.pixels = np.concatenate([np.load(file) for file in SPEC["images"]])
        channels = self.pixels.shape[1]
        train = self.pixels[SPEC["train"]]
        mean, std = (of(train, axis=(0, 2, 3), dtype=np.float64).astype(np.float32) for of in (np.mean, np.std))
        self.labels = torch.tensor(SPEC["labels"])
        self.std = torch.tensor(std).view(1, -1, 1, 1)
        self.model = Normalised(SPEC["arch"], channels, classes, mean, std)
        self.teacher = None
        if SPEC["teacher"]:
            self.teacher = Normalised("resnet18", channels, classes, mean, std).eval()
            self.teacher.network.load_state_dict(load_file(SPEC["teacher"]))
        if BEST:
            self.images = torch.from_numpy(self.pixels.astype(np.float32))
            for net in filter(None, (self.model, self.teacher)):
                net.to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=SPEC["learning_rate"], weight_decay=1e-2, fused=BEST or None
        )
        steps = SPEC["epochs"] * math.ceil(len(SPEC["train"]) / SPEC["batch"])
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, steps)
        self.lowest = math.inf
        self.parts = {}
        if not BEST:
            self.tune()

    def loader(self, workers, rows, train):
        data = Dataset(self.pixels, self.labels, rows, self.std[0], train)
        return torch.utils.data.DataLoader(
            data, SPEC["batch"], shuffle=train, num_workers=workers, persistent_workers=workers > 0
        )

    def tune(self):
        """Takes the number of workers with which a few steps take the least time."""
        trials = {}
        rows = SPEC["train"][: SPEC["batch"] * STEPS_OF_A_TRIAL]
        saved = self.snapshot()
        for workers in WORKERS_TO_TRY:
            loader = self.loader(workers, rows, True)
            for attempt in range(2):  # the first starts the workers
                begun = time.perf_counter()
                for x, labels in loader:
                    self.step(x, labels)
                trials[workers] = time.perf_counter() - begun
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.workers = min(trials, key=trials.get)
        self.train_loader = self.loader(self.workers, SPEC["train"], True)
        self.val_loader = self.loader(0, SPEC["val"], False)

    def batches(self):
        if not BEST:
            yield from self.train_loader
            return
        order = torch.tensor(SPEC["train"])[torch.randperm(len(SPEC["train"]))]
        for rows in order.split(SPEC["batch"]):
            yield self.images[rows], self.labels[rows]

    def step(self, x, labels):
        if BEST:
            x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=BEST):
            with torch.no_grad():
                teacher = self.teacher(x) if self.teacher else None
            logits = self.model(x)
        loss = loss_of(logits, labels, teacher)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def lap(self, part):
        now = time.perf_counter()
        self.parts[part] = self.parts.get(part, 0.0) + now - self.since
        self.since = now

    def epoch(self):
        self.parts, self.since = {}, time.perf_counter()
        self.model.train()
        for x, labels in self.batches():
            self.lap("images")
            if BEST:
                x = changed(x, self.std)
            self.lap("augmentation")
            self.step(x, labels)
            if self.schedule.last_epoch < self.schedule.T_max:
                self.schedule.step()
            self.lap("step")
        lowest = min(self.lowest, self.validated())
        self.lap("evaluation")
        torch.save(self.snapshot(), SPEC["checkpoint"])
        if lowest < self.lowest:
            self.lowest = lowest
            torch.save(self.model.state_dict(), SPEC["checkpoint"] + ".best")
        self.lap("keeping")

    @torch.inference_mode()
    def validated(self):
        self.model.eval()
        losses = []
        if BEST:
            rows = torch.tensor(SPEC["val"]).split(128)
            batches = ((self.images[r].contiguous(memory_format=torch.channels_last), self.labels[r]) for r in rows)
        else:
            batches = self.val_loader
        with torch.autocast("cpu", torch.bfloat16, enabled=BEST):
            for x, labels in batches:
                losses.append(functional.cross_entropy(self.model(x).float(), labels, reduction="sum"))
        return sum(losses).item()

    def snapshot(self):
        copy = lambda state: {name: value.clone() for name, value in state.items()}
        return {"model": copy(self.model.state_dict()), "optimiser": self.optimiser.state_dict()}


def main():
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    training = Training()
    print(json.dumps({"workers": getattr(training, "workers", None)}), flush=True)
    for _ in sys.stdin:
        training.epoch()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({**training.parts, "peak_kib": peak}), flush=True)


main()
