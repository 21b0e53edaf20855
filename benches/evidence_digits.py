"""Real handwritten digits before real photographs, in the layout of Waterbirds: a cohort for each seed.

usage: evidence_digits.py OUT SEED...        writes OUT/seed-SEED/{metadata.csv,images/*.png}

Label: digit below 5 (0) or not (1). Place: a crop of scikit-learn's photograph of a temple in China (0) or of a flower (1). In training
95 % of the digits stand before their own label's place; in validation and test half of each label do. Every one of scikit-learn's 1797 digits
(8 x 8, from UCI's test set of handwritten digits) is in one split and one picture alone.
"""

import csv
import pathlib
import sys

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

SIDE = 32
TRAIN, VAL = 897, 300
OWN_PLACE = 0.95


def place_of(label, split, rank, count):
    """The place of the digit `rank` of the `count` with its label in its split."""
    own = OWN_PLACE if split == 0 else 0.5
    return label if rank < round(own * count) else 1 - label


def crop(photograph, rng):
    """A square of a random size from a random spot, halved in contrast so that the digit stays the brightest thing."""
    side = int(rng.integers(SIDE, 4 * SIDE))
    y, x = (int(rng.integers(0, size - side)) for size in photograph.shape[:2])
    square = Image.fromarray(photograph[y : y + side, x : x + side]).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.float64) / 2


def picture(digit, photograph, rng):
    """The digit, four times as large, in white over the background by its own grey values."""
    ink = Image.fromarray(np.uint8(digit / 16 * 255)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    ink = np.asarray(ink, dtype=np.float64)[..., None] / 255
    return np.uint8(np.rint(crop(photograph, rng) * (1 - ink) + 255 * ink))


def write(folder, seed, digits, photographs):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.images))
    splits = np.repeat([0, 1, 2], [TRAIN, VAL, len(order) - TRAIN - VAL])
    labels = (digits.target[order] >= 5).astype(int)
    counts = {(split, label): int(np.sum((splits == split) & (labels == label))) for split in range(3) for label in (0, 1)}
    seen = dict.fromkeys(counts, 0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["img_id", "img_filename", "y", "split", "place"])
        for number, (index, split, label) in enumerate(zip(order, splits, labels)):
            place = place_of(label, split, seen[split, label], counts[split, label])
            seen[split, label] += 1
            name = f"images/{number:04}.png"
            Image.fromarray(picture(digits.images[index], photographs[place], rng)).save(folder / name)
            table.writerow([number, name, label, split, place])


def main():
    out, seeds = pathlib.Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]]
    digits, photographs = load_digits(), load_sample_images().images
    for seed in seeds:
        folder = out / f"seed-{seed}"
        if not (folder / "done").exists():
            write(folder, seed, digits, photographs)
            (folder / "done").touch()


if __name__ == "__main__":
    main()
