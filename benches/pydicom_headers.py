"""pydicom_headers.py FOLDER: reads of every DICOM file the attributes that ingest reads, as a script of pydicom does it."""

import os
import sys

import pydicom
from pydicom.errors import InvalidDicomError

KEYWORDS = """ImageType SOPInstanceUID StudyDate AcquisitionDate AcquisitionTime Modality Manufacturer InstitutionName StationName
SeriesDescription ManufacturerModelName PatientName PatientID PatientBirthDate PatientSex PatientAge ScanningSequence SliceThickness
MagneticFieldStrength DeviceSerialNumber SoftwareVersions ProtocolName TriggerTime CardiacNumberOfImages StudyInstanceUID
SeriesInstanceUID SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient ImageOrientationPatient FrameOfReferenceUID
TemporalPositionIdentifier NumberOfTemporalPositions PhotometricInterpretation NumberOfFrames Rows Columns PixelSpacing
BitsAllocated BitsStored HighBit PixelRepresentation BurnedInAnnotation""".split()

headers = []
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        try:
            dataset = pydicom.dcmread(os.path.join(folder, name), stop_before_pixels=True)
        except InvalidDicomError:
            continue
        headers.append([dataset.get(keyword) for keyword in KEYWORDS])
assert headers
