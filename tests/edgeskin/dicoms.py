"""DICOM files made by pydicom, of a patient whose data must not reach any output."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from tests.edgeskin.pictures import encode, smooth

RGB = smooth(120, 160)
JPEG = encode(smooth(600, 800), "JPEG", quality=90)
SECRETS = ("Marker^Patient", "MARKER-ID-77", "Marker Hospital", "19310102", "Marker Nurse")


def attributes(sop_class: str = uid.VLPhotographicImageStorage) -> Dataset:
    """Those of a patient, a study, a series and an image, without pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.PatientName, dataset.PatientID, dataset.InstitutionName = SECRETS[:3]
    dataset.PatientBirthDate, dataset.OperatorsName = SECRETS[3:]
    dataset.PatientSex = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime = "1", "20260102", "030405"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "XC", 1, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "22943-9", "DCM", SECRETS[4]
    dataset.AnatomicRegionSequence = [item]
    return dataset


def photograph(
    pixels: npt.NDArray[np.uint8] | bytes = RGB,
    syntax: str = uid.ExplicitVRLittleEndian,
    color: str = "RGB",
    **changes: Any,
) -> bytes:
    """A DICOM file.

    Args:
        pixels: RGB as they are to be stored, (h, w, 3), or the bytes of the element.
        syntax: The transfer syntax.
        color: The photometric interpretation.
        changes: Further attributes; None leaves one out.
    """
    height, width = pixels.shape[:2] if isinstance(pixels, np.ndarray) else RGB.shape[:2]
    dataset = attributes(changes.pop("SOPClassUID", uid.VLPhotographicImageStorage))
    dataset.file_meta.TransferSyntaxUID = uid.UID(syntax)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, color, 0
    dataset.Rows, dataset.Columns = height, width
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = pixels.tobytes() if isinstance(pixels, np.ndarray) else pixels
    dataset["PixelData"].VR = "OB" if dataset.file_meta.TransferSyntaxUID.is_encapsulated else "OW"
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return saved(dataset)


def with_jpeg(jpeg: bytes = JPEG, fragments: int = 1, **changes: Any) -> bytes:
    """A JPEG file in a DICOM file, in so many fragments."""
    content = encapsulate([jpeg], fragments_per_frame=fragments)
    values = {"color": "YBR_FULL_422", "Rows": 600, "Columns": 800} | changes
    return photograph(content, uid.JPEGBaseline8Bit, **values)


def saved(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
