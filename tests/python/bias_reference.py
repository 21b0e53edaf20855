"""bias_reference.py: what SimpleITK's N4 leaves of a known field in the picture of src/preprocess/bias.rs (its tests hold the figures).

Prints the coefficient of variation of (field x correction) over tissue, before and after.
"""

import numpy as np
import SimpleITK as sitk

SIZE = 120


def picture():
    """Three tissues in air, with a texture of whole numbers; float64."""
    row, column = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    image = np.where(np.hypot((row - 60) / 50, (column - 60) / 55) < 1, 100.0, 5.0)
    image[np.hypot((row - 50) / 30, (column - 40) / 20) < 1] = 40.0
    image[np.hypot(row - 65, column - 75) < 20] = 180.0
    return image + (row * 7 + column * 11) % 13 * 0.5


def field():
    """A coil at the upper left: from 1.6 down to 0.6."""
    row, column = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    return 0.6 + 1.0 * np.exp(-(((row - 20) / 80) ** 2) - ((column - 30) / 90) ** 2)


def variation(values):
    return values.std() / values.mean()


sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
image, truth = picture(), field()
scan = sitk.GetImageFromArray((image * truth).astype(np.float32))
mask = sitk.OtsuThreshold(scan, 0, 1, 200)
inside = image > 30
print(f"before {variation(truth[inside]):.4f}")
for levels in ([50] * 3, [50] * 4):
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(levels)
    n4.Execute(scan, mask)
    found = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(scan)).astype(float)
    print(f"{len(levels)} levels {variation((truth / np.exp(found))[inside]):.4f}")
