"""Metadata or image corners alone must not tell the diagnosis where site and diagnosis are independent.

usage: phantom_shortcuts.py PHANTOM CHANCE_CEILING
Ten-fold cross-validated random forests on everything a header says, and on the four corners of an end-diastolic frame.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

root, ceiling = Path(sys.argv[1]), float(sys.argv[2])
truth = json.loads((root / "truth.json").read_text())
paths = defaultdict(list)
for file in truth["files"]:
    if file["role"] == "short-axis":
        paths[file["path"].split("/")[2]].append(root / file["path"])


def first_frame(path):
    """Pixels and every number of the header that could tell something."""
    if path.name.endswith(".nii.gz"):
        image = nibabel.load(path)
        numbers = [*image.affine.ravel(), *image.shape, image.header["pixdim"][4], path.stat().st_size]
        return np.asarray(image.dataobj[..., 0, 0]).T, numbers
    data = pydicom.dcmread(path)
    pixels = data.pixel_array
    if "PerFrameFunctionalGroupsSequence" not in data:
        numbers = [*data.ImagePositionPatient, *data.ImageOrientationPatient, *data.PixelSpacing, data.NominalInterval,
                   data.WindowCenter, data.HeartRate, int(data.StudyDate[4:]), int(data.PatientID[-4:])]
        return pixels, numbers
    frame, shared = data.PerFrameFunctionalGroupsSequence[0], data.SharedFunctionalGroupsSequence[0]
    numbers = [*frame.PlanePositionSequence[0].ImagePositionPatient,
               *shared.PlaneOrientationSequence[0].ImageOrientationPatient, *shared.PixelMeasuresSequence[0].PixelSpacing,
               frame.CardiacSynchronizationSequence[0].RRIntervalTimeNominal, data.NumberOfFrames,
               int(data.StudyDate[4:]), int(data.PatientID[-4:])]
    return pixels[0], numbers


SIDE = 7  # of about 56 pixels
metadata, corners, labels = [], [], []
for subject in truth["subjects"]:
    pixels, numbers = first_frame(sorted(paths[subject["patient_id"]])[0])
    vendor = ["siemens", "ge", "philips", "canon"].index(subject["vendor"])
    numbers = [vendor, subject["sex"] == "F", subject["age_years"], *map(float, numbers)]
    metadata.append(numbers + [0.0] * (40 - len(numbers)))
    parts = [pixels[rows, columns].astype(float) / pixels.mean()
             for rows in (slice(SIDE), slice(-SIDE, None)) for columns in (slice(SIDE), slice(-SIDE, None))]
    corners.append([vendor, *np.concatenate([part.ravel() for part in parts])])
    labels.append(subject["label"])
for name, features in [("metadata", metadata), ("corners", corners)]:
    forest = RandomForestClassifier(200, random_state=0, n_jobs=1)
    accuracy = cross_val_score(forest, np.array(features), labels, cv=10).mean()
    print(f"{name}: {accuracy:.3f} on {len(labels)} subjects")
    assert accuracy < ceiling, name
