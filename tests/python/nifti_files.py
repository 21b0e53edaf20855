"""NIfTI files by nibabel: both versions, byte orders, pairs, packed, 5-d, every code of orientation, with what nibabel makes of them.

nifti_files.py OUT: writes OUT/scans/* and OUT/truth.json, by file name {position, row, column, spacing_row, spacing_column, step}: LPS mm of
the first pixel and unit vectors as the design has them (array index i counts columns, j rows), and the affine's third column.
"""

import json
import pathlib
import sys

import nibabel
import numpy as np


def affine(rng):
    """A rotation with spacings 1.5, 1.25 and 8 and an offset."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    full = np.eye(4)
    full[:3, :3] = q @ np.diag([1.5, 1.25, 8.0])
    full[:3, 3] = rng.normal(size=3) * 50
    return full


def write(out, name, kind, shape, dtype, rng, *, big=False, forms=(1, 1), slope=None):
    data = rng.integers(0, 100, shape).astype(dtype)
    header = kind.header_class(endianness=">" if big else "<")
    image = kind(data, None, header) if forms == (0, 0) else kind(data, affine(rng), header)
    image.set_data_dtype(dtype)
    if forms != (0, 0):
        image.set_qform(image.affine if forms[0] else None, code=forms[0])
        image.set_sform(image.affine if forms[1] else None, code=forms[1])
    else:
        image.header.set_zooms((1.5, 1.25, 8.0, *image.header.get_zooms()[3:]))
    if slope:
        image.header.set_slope_inter(*slope)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, out / name)
    return name


def main(out):
    scans = out / "scans"
    scans.mkdir(parents=True)
    rng = np.random.default_rng(5)
    one, two, pair, pair2 = nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.Nifti1Pair, nibabel.Nifti2Pair
    names = [
        write(scans, "a1.nii", one, (5, 6, 3, 4), np.int16, rng),
        write(scans, "a2.nii.gz", one, (5, 6, 3, 4), np.float32, rng, big=True, forms=(1, 0)),
        write(scans, "a3.nii", one, (5, 6, 3), np.uint8, rng, forms=(0, 0)),
        write(scans, "a4.nii", two, (5, 6, 3, 4), np.uint16, rng, forms=(0, 2)),
        write(scans, "a5.nii.gz", two, (5, 6, 3, 4), np.float64, rng, big=True, forms=(2, 0)),
        write(scans, "a6.nii", two, (5, 6, 3, 1, 4), np.int32, rng),
        write(scans, "a7.nii", one, (5, 6, 3, 1, 4), np.int8, rng, big=True),
        write(scans, "a8.hdr", pair, (5, 6, 3, 4), np.int16, rng),
        write(scans, "a9.hdr", pair2, (5, 6, 3), np.uint32, rng),
        write(scans, "b1.nii", two, (4, 6, 3), np.int64, rng, forms=(0, 0)),
    ]
    truth = {}
    for name in names:
        full = nibabel.load(scans / name).affine
        lps = np.diag([-1.0, -1.0, 1.0]) @ full[:3]
        unit = lambda vector: (vector / np.linalg.norm(vector)).tolist()  # noqa: E731
        truth[name] = {
            "position": lps[:, 3].tolist(), "row": unit(lps[:, 0]), "column": unit(lps[:, 1]),
            "spacing_column": float(np.linalg.norm(lps[:, 0])), "spacing_row": float(np.linalg.norm(lps[:, 1])),
            "step": lps[:, 2].tolist(),
        }  # fmt: skip
    (out / "truth.json").write_text(json.dumps(truth))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
