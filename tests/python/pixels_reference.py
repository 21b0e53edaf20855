"""Pixels of files by pydicom, nibabel and Pillow, modality rescale applied, for comparison with `ingest::pixels`.

pixels_reference.py OUT FILE...: writes OUT/<i>.f32 (float32, little-endian, [frame, channel, row, column]) per FILE and OUT/index.json
with its shape; a file that has no decoder here has null. NIfTI frames are numbered phase x slices + slice, array index i is the
column, j the row.
"""

import json
import pathlib
import sys

import nibabel
import numpy as np
import pydicom
import SimpleITK
from PIL import Image


def rescale(dataset, frame):
    """Slope and intercept of a frame: its own functional group, the shared one, the object's."""
    groups = []
    if "PerFrameFunctionalGroupsSequence" in dataset:
        groups.append(dataset.PerFrameFunctionalGroupsSequence[frame])
    if "SharedFunctionalGroupsSequence" in dataset:
        groups.append(dataset.SharedFunctionalGroupsSequence[0])
    for group in groups:
        if "PixelValueTransformationSequence" in group:
            item = group.PixelValueTransformationSequence[0]
            return float(item.RescaleSlope), float(item.RescaleIntercept)
    return float(dataset.get("RescaleSlope") or 1), float(dataset.get("RescaleIntercept") or 0)


def dicom(path):
    try:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array
    # pydicom, its plugins and Pillow have errors of many kinds for files that they cannot decode.
    except Exception as error:  # noqa: BLE001
        print(f"{path}: {error}", file=sys.stderr)
        return gdcm(path)
    if dataset.get("SamplesPerPixel", 1) != 1:
        return None
    stored = stored.reshape(-1, 1, dataset.Rows, dataset.Columns).astype(np.float64)
    for frame in range(stored.shape[0]):
        slope, intercept = rescale(dataset, frame)
        stored[frame] = stored[frame] * slope + intercept
    return stored


def gdcm(path):
    """What SimpleITK's GDCM makes of a file, rescaled; it knows streams whose scan header pydicom's decoders refuse."""
    if path.parent.name != "JPLY":
        return None
    data = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).astype(np.float64)
    return data.reshape(-1, 1, *data.shape[-2:])


def nifti(path):
    image = nibabel.load(path)
    try:
        data = image.get_fdata(dtype=np.float64)
    except (FileNotFoundError, TypeError, ValueError, nibabel.spatialimages.HeaderDataError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return None
    if data.ndim == 5:
        # The cycle on the fifth axis.
        data = data[:, :, :, 0]
    data = data.reshape(data.shape + (1,) * (4 - data.ndim))
    # i, j, k, t -> t, k, j, i
    return data.transpose(3, 2, 1, 0).reshape(-1, 1, data.shape[1], data.shape[0])


def picture(path):
    data = np.asarray(Image.open(path)).astype(np.float64)
    return data[None, None] if data.ndim == 2 else data.transpose(2, 0, 1)[None]


def read(path):
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".hdr", ".hdr.gz")):
        return nifti(path)
    return picture(path) if name.endswith((".png", ".jpg", ".jpeg")) else dicom(path)


def main(out, files):
    index = []
    for number, name in enumerate(files):
        data = read(pathlib.Path(name))
        if data is not None:
            data.astype("<f4").tofile(out / f"{number}.f32")
        index.append(None if data is None else list(data.shape))
    (out / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
