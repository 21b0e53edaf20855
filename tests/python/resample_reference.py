"""resample_reference.py [--check FILE]: images on other grids by SimpleITK, as JSON; src/preprocess/resample_tests.rs compares.

Prints tests/python/resample_reference.json, or checks that the file still is what the installed SimpleITK and scipy give. Shrinking
smooths first with scipy's Gaussian (sigma = (factor - 1) / 2 source pixels, ends mirrored); SimpleITK interpolates in mm.
"""

import json
import sys

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

ROWS, COLUMNS = 23, 31
# (row spacing, column spacing, target spacing) in mm: shrink, grow, one of each, and what keeps its size.
SPACINGS = [(1.3, 0.9, 2.1), (2.3, 1.7, 0.8), (0.7, 1.9, 1.1), (1.2, 1.2, 1.2)]
KERNELS = {"linear": sitk.sitkLinear, "cubic-b-spline": sitk.sitkBSpline}


def picture():
    """Random grey values from a generator of two lines, so that any language makes the same."""
    state, values = 12345, []
    for _ in range(ROWS * COLUMNS):
        state = (state * 1103515245 + 12345) % 2**31
        values.append(state >> 16 & 1023)
    return np.array(values, float).reshape(ROWS, COLUMNS)


def resampled(image, spacing, target, kernel):
    factors = np.array([target / spacing[0], target / spacing[1]])
    smooth = gaussian_filter(image, np.maximum((factors - 1) / 2, 0), mode="mirror", truncate=4)
    source = sitk.GetImageFromArray(smooth)
    source.SetSpacing((spacing[1], spacing[0]))
    extent = np.array(image.shape) * spacing
    # As many pixels as fit, centred: the first and last lie up to half a source pixel beyond the outermost centres.
    count = np.floor(extent / target + 1e-9).astype(int)
    start = (extent - target * (count - 1)) / 2 - np.array(spacing) / 2
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize((int(count[1]), int(count[0])))
    filter_.SetOutputSpacing((target, target))
    filter_.SetOutputOrigin((start[1], start[0]))
    filter_.SetInterpolator(kernel)
    filter_.SetDefaultPixelValue(-1e6)
    filter_.SetOutputPixelType(sitk.sitkFloat64)
    return sitk.GetArrayFromImage(filter_.Execute(source))


def cases():
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    image, found = picture(), []
    for spacing in SPACINGS:
        for name, kernel in KERNELS.items():
            values = resampled(image, spacing[:2], spacing[2], kernel)
            # Every 17th pixel, border and inside alike, keeps the file small.
            some = [round(float(value), 3) for value in values.ravel()[::17]]
            found.append({"kernel": name, "mm": spacing, "size": values.shape, "every_17th": some})
    return found


if sys.argv[1:2] == ["--check"]:
    with open(sys.argv[2], encoding="utf-8") as file:
        wanted = json.load(file)
    for a, b in zip(cases(), wanted, strict=True):
        assert list(a["mm"]) == b["mm"] and list(a["size"]) == b["size"], (a["mm"], a["size"], b["size"])
        np.testing.assert_allclose(a["every_17th"], b["every_17th"], atol=0.01)
else:
    print("[\n" + ",\n".join(json.dumps(case) for case in cases()) + "\n]")
