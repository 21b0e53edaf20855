"""preprocess_peers.py: the peers of `bench preprocess`. Every chain does what the bench's plan says: a whole cine to a standard
orientation, to one pixel spacing in the plane, cut to one size about the middle, clipped at its percentiles, z-scored, float16, written.

    copies COHORT OUT                                    lists the cine stacks in OUT/stacks.json, with a NIfTI copy of each in OUT/nifti
    run PEER SOURCE PROCESSES STACKS MM PIXELS OUT       PEER = monai | torchio | simpleitk, SOURCE = dicom | nifti

`run` prints the seconds from the first read to the last write: neither imports nor the start of processes count.
"""

import json
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

PERCENTILES = (1, 99)


def dicom_cine(stack):
    """[x, y, z, t] float32 and the affine in RAS, mm, as a script of pydicom reads a cine."""
    import pydicom

    slices = []
    for paths in stack["dicom"]:
        phases = []
        for path in paths:
            dataset = pydicom.dcmread(path)
            slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
            phases.append(dataset.pixel_array.T.astype(np.float32) * slope + intercept)
        slices.append(phases)
    return np.array(slices, np.float32).transpose(2, 3, 0, 1), np.array(stack["affine"])


def nifti_cine(stack):
    """The same from the NIfTI copy."""
    import nibabel

    image = nibabel.load(stack["nifti"])
    return np.asarray(image.dataobj, np.float32), image.affine


READERS = {"dicom": dicom_cine, "nifti": nifti_cine}


def monai_chain(source, mm, pixels):
    import torch
    from monai.data import MetaTensor
    from monai.transforms import (
        Compose,
        NormalizeIntensity,
        Orientation,
        ResizeWithPadOrCrop,
        ScaleIntensityRangePercentiles,
        Spacing,
    )

    torch.set_num_threads(1)
    chain = Compose(
        [
            Orientation(axcodes="LPS", labels=None),
            Spacing(pixdim=(mm, mm, -1), mode="bilinear"),
            ResizeWithPadOrCrop((pixels, pixels, -1)),
            ScaleIntensityRangePercentiles(*PERCENTILES, 0, 1, clip=True),
            NormalizeIntensity(),
        ]
    )

    def one(stack):
        voxels, affine = READERS[source](stack)
        image = MetaTensor(torch.from_numpy(np.ascontiguousarray(voxels.transpose(3, 0, 1, 2))), affine=affine)
        return chain(image).numpy()

    return one


def torchio_chain(source, mm, pixels):
    import torch
    import torchio

    torch.set_num_threads(1)

    def one(stack):
        voxels, affine = READERS[source](stack)
        image = torchio.ScalarImage(tensor=np.ascontiguousarray(voxels.transpose(3, 0, 1, 2)), affine=affine)
        image = torchio.ToCanonical()(image)
        image = torchio.Resample((mm, mm, image.spacing[2]))(image)
        image = torchio.CropOrPad((pixels, pixels, image.shape[3]))(image)
        image = torchio.RescaleIntensity(percentiles=PERCENTILES)(image)
        return torchio.ZNormalization()(image).numpy()

    return one


def simpleitk_phases(stack, source):
    """One volume per phase, read by SimpleITK itself."""
    import SimpleITK as sitk

    if source == "nifti":
        cine = sitk.ReadImage(stack["nifti"], sitk.sitkFloat32)
        size = list(cine.GetSize())
        for phase in range(size[3]):
            yield sitk.Extract(cine, [*size[:3], 0], [0, 0, 0, phase])
    else:
        for phase in range(len(stack["dicom"][0])):
            yield sitk.ReadImage([paths[phase] for paths in stack["dicom"]], sitk.sitkFloat32)


def simpleitk_chain(source, mm, pixels):
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    def cut(volume):
        volume = sitk.DICOMOrient(volume, "LPS")
        size, spacing = np.array(volume.GetSize()), np.array(volume.GetSpacing())
        middle = np.array(volume.TransformContinuousIndexToPhysicalPoint(((size - 1) / 2).tolist()))
        new_size, new_spacing = np.array([pixels, pixels, size[2]]), np.array([mm, mm, spacing[2]])
        axes = np.array(volume.GetDirection()).reshape(3, 3)
        grid = sitk.ResampleImageFilter()
        grid.SetSize(new_size.tolist())
        grid.SetOutputSpacing(new_spacing.tolist())
        grid.SetOutputOrigin((middle - axes @ ((new_size - 1) / 2 * new_spacing)).tolist())
        grid.SetOutputDirection(volume.GetDirection())
        grid.SetInterpolator(sitk.sitkLinear)
        return sitk.GetArrayFromImage(grid.Execute(volume))

    def one(stack):
        cine = np.array([cut(volume) for volume in simpleitk_phases(stack, source)])
        cine = np.clip(cine, *np.percentile(cine, PERCENTILES))
        return (cine - cine.mean()) / cine.std()

    return one


CHAINS = {"monai": monai_chain, "torchio": torchio_chain, "simpleitk": simpleitk_chain}
chain = None


def begin(peer, source, mm, pixels):
    global chain
    chain = CHAINS[peer](source, mm, pixels)


def do(job):
    stack, path = job
    cine = chain(stack).astype(np.float16)
    np.save(path, cine)
    return cine.shape, float(np.isfinite(cine).mean())


def run(peer, source, processes, stacks, mm, pixels, out):
    stacks = json.loads(Path(stacks).read_text(encoding="utf-8"))
    jobs = [(stack, f"{out}/{number}.npy") for number, stack in enumerate(stacks)]
    arguments = (peer, source, float(mm), int(pixels))
    with get_context("spawn").Pool(int(processes), begin, arguments) as pool:
        # One stack for each process first, so that everything is imported.
        pool.map(do, jobs[: int(processes)], chunksize=1)
        begun = time.perf_counter()
        shapes = pool.map(do, jobs, chunksize=1)
        print(f"{time.perf_counter() - begun:.4f}")
    assert all(finite == 1 for _, finite in shapes)


def affine(frames, stack):
    """From DICOM's LPS to NIfTI's RAS, columns: increasing column index, row index, slice."""
    row = np.array([stack["row_x"], stack["row_y"], stack["row_z"]])
    column = np.array([stack["column_x"], stack["column_y"], stack["column_z"]])
    first = [frames[slice_, 0] for slice_ in sorted({key[0] for key in frames})]
    places = [np.array([f["position_x_mm"], f["position_y_mm"], f["position_z_mm"]]) for f in first]
    step = places[1] - places[0] if len(places) > 1 else np.cross(row, column)
    matrix = np.eye(4)
    matrix[:3, 0] = row * stack["pixel_spacing_column_mm"]
    matrix[:3, 1] = column * stack["pixel_spacing_row_mm"]
    matrix[:3, 2], matrix[:3, 3] = step, places[0]
    return np.diag([-1, -1, 1, 1]) @ matrix


def copies(cohort, out):
    import nibabel
    import pyarrow.parquet

    by_stack = {}
    for frame in pyarrow.parquet.read_table(f"{cohort}/frames.parquet").to_pylist():
        by_stack.setdefault(frame["stack_id"], {})[frame["slice"], frame["phase"]] = frame
    found, labels = [], ["file,patient_id,label,split"]
    for stack in pyarrow.parquet.read_table(f"{cohort}/stacks.parquet").to_pylist():
        if (stack["view"], stack["kind"]) != ("sax", "cine"):
            continue
        frames, name = by_stack[stack["stack_id"]], f"p{len(found):03}"
        folder = Path(out) / "nifti" / name
        folder.mkdir(parents=True, exist_ok=True)
        paths = [[frames[s, p]["path"] for p in range(stack["phases"])] for s in range(stack["slices"])]
        one = {"dicom": paths, "affine": affine(frames, stack).tolist(), "nifti": f"{folder}/{name}_sa.nii"}
        voxels, matrix = dicom_cine(one)
        image = nibabel.Nifti1Image(voxels.astype(np.int16), matrix)
        image.header.set_xyzt_units("mm", "sec")
        image.header["pixdim"][4] = 0.03
        nibabel.save(image, one["nifti"])
        found.append(one)
        labels.append(f"{name}/{name}_sa.nii,{name},{stack['label']},{stack['source_split']}")
    (Path(out) / "labels.csv").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (Path(out) / "stacks.json").write_text(json.dumps(found), encoding="utf-8")
    frames = sum(len(slices) * len(slices[0]) for slices in (one["dicom"] for one in found))
    print(len(found), "stacks,", frames, "frames, the last of", "x".join(map(str, voxels.shape)))


if __name__ == "__main__":
    {"copies": copies, "run": run}[sys.argv[1]](*sys.argv[2:])
