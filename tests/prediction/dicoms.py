"""DICOM images as archives have them, made for a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid


def radiograph(file: Path, **other: Any) -> Path:
    """A small DICOM image as an archive has it, with ``other`` attributes; None: without."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ComputedRadiographyImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.PatientID, data.PatientName, data.Modality = "4711", "Doe^Jane", "CR"
    data.Rows, data.Columns, data.SamplesPerPixel = 60, 50, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    data.PixelSpacing = [0.1, 0.1]
    data.PixelData = bytes(3000)
    for key, value in other.items():
        if value is None:
            delattr(data, key)
        else:
            setattr(data, key, value)
    data.save_as(file, enforce_file_format=True)
    return file
