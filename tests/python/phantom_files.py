"""Opens every file of a phantom with pydicom and nibabel and holds it against truth.json.

usage: phantom_files.py PHANTOM
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import nibabel
import numpy as np
import pydicom

ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"
CLASSIC = "1.2.840.10008.5.1.4.1.1.4"
root = Path(sys.argv[1])
truth = json.loads((root / "truth.json").read_text())
assert truth["schema"] == "groupdistil.phantom-truth/1"
subjects = {subject["patient_id"]: subject for subject in truth["subjects"]}


def frames(path):
    """(image, position, orientation, spacing, trigger time, instance uid) of each frame of a DICOM file."""
    data = pydicom.dcmread(path)
    assert str(data.PatientName).startswith("Synthetic^") and data.PatientID in subjects
    for element in data.iterall():
        assert element.VR != "UI" or element.keyword.endswith("ClassUID") or str(element.value).startswith("2.25.")
    pixels = data.pixel_array
    assert pixels.max() <= 4095
    if data.SOPClassUID == CLASSIC:
        yield (pixels, data.ImagePositionPatient, data.ImageOrientationPatient, data.PixelSpacing,
               data.get("TriggerTime"), data)
        return
    assert data.SOPClassUID == ENHANCED and len(pixels) == data.NumberOfFrames
    shared = data.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    for image, group in zip(pixels, data.PerFrameFunctionalGroupsSequence, strict=True):
        plane = (group if "PlaneOrientationSequence" in group else shared).PlaneOrientationSequence[0]
        trigger = None
        if "CardiacSynchronizationSequence" in group:
            trigger = group.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime
        position = group.PlanePositionSequence[0].ImagePositionPatient
        yield image, position, plane.ImageOrientationPatient, spacing, trigger, data


def check_heart(stack, images):
    """Blood is in the middle of the ventricle, muscle thickens and the cavity shrinks: the images show what the truth says."""
    diastole, systole = stack["end_diastole_phase"], stack["end_systole_phase"]
    assert stack["volumes_ml"][systole] < stack["volumes_ml"][diastole]
    changes = []
    for position, cine in zip(stack["positions"], images, strict=True):
        row, column = (round(value) for value in position["left_ventricle_px"])
        top, bottom, left, right = position["left_ventricle_box_px"]
        assert top < row < bottom and left < column < right
        middle = cine[diastole][row - 1 : row + 2, column - 1 : column + 2].mean()
        assert middle > np.median(cine[diastole]), "the cavity is brighter than most of the chest"
        box = cine[:, top : bottom + 1, left : right + 1].astype(float)
        changes.append(box[systole].mean() / box[diastole].mean())
    assert min(changes) < 0.97, "there is less bright blood in the ventricle in systole"


def check_stack(stack, members):
    """`members`: (image, position, orientation, spacing, trigger) of one geometric stack."""
    normal = np.cross(stack["row"], stack["column"])
    by_position = defaultdict(list)
    for image, position, orientation, spacing, trigger in members:
        assert np.allclose(orientation, stack["row"] + stack["column"], atol=1e-6)
        assert np.allclose(spacing, [stack["pixel_spacing_row_mm"], stack["pixel_spacing_column_mm"]], atol=1e-6)
        assert image.shape == (stack["rows"], stack["columns"])
        by_position[round(float(np.dot(position, normal)), 3)].append((trigger, image, position))
    assert len(by_position) == stack["slices"]
    images = []
    for height, expected in zip(sorted(by_position), stack["positions"], strict=True):
        found = sorted(by_position[height], key=lambda member: member[0] or 0.0)
        assert len(found) == stack["phases"]
        assert len({member[0] for member in found}) == stack["phases"]
        assert np.allclose(found[0][2], expected["position_mm"], atol=1e-5)
        images.append(np.stack([member[1] for member in found]))
    if stack["slice_spacing_mm"] is not None:
        assert np.allclose(np.diff(sorted(by_position)), stack["slice_spacing_mm"], atol=1e-3)
    if stack["view"] == "sax":
        check_heart(stack, images)


def check_dicom(paths_by_subject):
    uids = set()
    for patient, paths in paths_by_subject.items():
        subject = subjects[patient]
        groups = defaultdict(list)
        for role, path in paths:
            for image, position, orientation, spacing, trigger, data in frames(path):
                assert data.PatientSex == subject["sex"] and data.PatientAge == f"{subject['age_years']:03d}Y"
                assert data.InstitutionName == subject["site"]
                key = tuple(np.round(orientation, 5)) if role == "scout" else ()
                groups[role, key].append((image, position, orientation, spacing, trigger))
            if role != "duplicate":
                assert data.SOPInstanceUID not in uids
                uids.add(data.SOPInstanceUID)
            else:
                assert data.SOPInstanceUID in uids
        for stack in subject["stacks"]:
            key = tuple(np.round(stack["row"] + stack["column"], 5)) if stack["role"] == "scout" else ()
            check_stack(stack, groups[stack["role"], key])
        assert ("interrupted-cine", ()) not in groups or len(groups["interrupted-cine", ()]) < subject["stacks"][0]["phases"]


def check_nifti(path, subject):
    image = nibabel.load(path)
    stack = subject["stacks"][0]
    assert image.shape == (stack["columns"], stack["rows"], stack["slices"], stack["phases"])
    assert image.header.get_xyzt_units() == ("mm", "sec")
    array = np.asarray(image.dataobj)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-3), "qform and sform say the same"
    assert np.allclose(lps[:3, 0], np.multiply(stack["row"], stack["pixel_spacing_column_mm"]), atol=1e-4)
    assert np.allclose(lps[:3, 1], np.multiply(stack["column"], stack["pixel_spacing_row_mm"]), atol=1e-4)
    positions = [position["position_mm"] for position in stack["positions"]]
    found = [(lps @ [0, 0, index, 1])[:3] for index in range(stack["slices"])]
    ascending = np.allclose(found, positions, atol=1e-3)
    assert ascending or np.allclose(found[::-1], positions, atol=1e-3)
    planes = array.transpose(2, 3, 1, 0)
    check_heart(stack, planes if ascending else planes[::-1])


paths = defaultdict(list)
rows = {}
for file in truth["files"]:
    path = root / file["path"]
    assert path.is_file(), path
    patient = path.relative_to(root / "scans").parts[1]
    if file["role"] == "information-csv":
        with open(path, newline="") as table:
            rows = {row["External code"]: row for row in csv.DictReader(table)}
    elif file["role"] == "not-an-image":
        assert file["outcome"] == "skipped"
    elif path.name.endswith(".nii.gz"):
        nibabel.load(path).get_fdata()
        if file["role"] == "short-axis":
            check_nifti(path, subjects[patient])
    else:
        for part in path.relative_to(root / "scans").parts[1:]:
            if part in subjects:
                paths[part].append((file["role"], path))
assert {path.relative_to(root).as_posix() for path in (root / "scans").rglob("*") if path.is_file()} == {
    file["path"] for file in truth["files"]
}
for members in paths.values():
    members.sort(key=lambda member: member[0] == "duplicate")
check_dicom(paths)
with open(root / "labels.csv", newline="") as table:
    labels = {row["patient_id"]: row for row in csv.DictReader(table)}
assert labels.keys() == subjects.keys()
for patient, subject in subjects.items():
    row = labels[patient]
    assert [row["label"], row["site"], row["split"]] == [subject["label"], subject["site"], subject["split"]]
    if patient in rows:
        stack = subject["stacks"][0]
        assert rows[patient]["Pathology"] == subject["label"] and rows[patient]["Vendor"] == "D"
        assert [int(rows[patient]["ED"]), int(rows[patient]["ES"])] == [
            stack["end_diastole_phase"], stack["end_systole_phase"]]
assert {patient for patient, subject in subjects.items() if subject["vendor"] == "canon"} == rows.keys()
for site in truth["sites"]:
    roles = {file["role"] for file in truth["files"] if f"/{site['site']}/" in file["path"]}
    assert roles >= {"short-axis", "two-chamber", "four-chamber", "scout", "reacquired-position", "interrupted-cine",
                     "duplicate", "not-an-image"}, (site["site"], roles)
print(f"{len(subjects)} subjects, {len(truth['files'])} files")
