"""The result of a DICOM photograph as DICOM: a structured report and a picture of the evidence.

``.sr.dcm`` is a Comprehensive SR of template TID 1500 (PS3.16), ``.sc.dcm`` a Secondary Capture. Both belong
to the patient and the study of the photograph. highdicom writes them, which needs the extra ``dicom``.
"""

import io
import uuid
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from edgeskin import NOTICE, __version__
from edgeskin.arrays import Image
from edgeskin.decision.decide import ACTIONS
from edgeskin.errors import PhotoError, SettingError
from edgeskin.photo.decode import read_bytes
from edgeskin.report import figures
from edgeskin.report.text import verdict
from edgeskin.results import SHOWN_SIDE, Assessment

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

STRUCTURED_REPORT, SECONDARY_CAPTURE = SUFFIXES = (".sr.dcm", ".sc.dcm")
SCHEME = "99EDGESKIN"
"""Coding scheme of what no standard has a code for; "99" marks a private one (PS3.16, 8.2)."""
NOT_FOR_DIAGNOSIS = "NOT FOR DIAGNOSIS"
BAR = 24
"""Height of the bar with NOT_FOR_DIAGNOSIS, pixels."""
REPORT_SERIES, CAPTURE_SERIES = 9001, 9002
"""Numbers of the series in the study, beyond those of cameras."""
ATTRIBUTES = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName",
    "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "Laterality", "ImageLaterality", "BurnedInAnnotation", "LossyImageCompression",
)  # fmt: skip
"""What is read of the photograph, to be copied or referred to."""
_MEANINGS: dict[str, str] = {
    **dict(ACTIONS.values()),
    "retake": "take the picture again",
    "out_of_scope": "take a dermoscopy picture with the lesion in the middle",
}
"""Of the action codes, each at most 64 characters (PS3.5, 6.2: LO)."""
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.91")
"""Transfer syntaxes that lose detail, which whatever is derived has to say."""


def is_dicom_report(path: Path) -> bool:
    """Whether a report of this name is one of SUFFIXES."""
    return path.name.lower().endswith(SUFFIXES)


@dataclass(frozen=True)
class Source:
    """A DICOM photograph that is reported on.

    Attributes:
        content: All bytes of the file, so that what is assessed is what the report names.
        attributes: ATTRIBUTES, as text; empty where they are missing.
    """

    content: bytes
    attributes: "Dataset"


def read_source(photo: Path) -> Source:
    """Read a DICOM photograph.

    Raises:
        PhotoError: The photograph cannot be read, or does not name its study.
        SettingError: It is no DICOM file, so there is neither patient nor study; or the extra is missing.
    """
    try:
        data = read_bytes(photo)
        if data[128:132] != b"DICM":
            raise SettingError(
                f"{photo}: not a DICOM file, so it names no patient and no study, to which "
                f"{' and '.join(SUFFIXES)} belong; write .html, .json or .png"
            )
        return Source(data, _attributes(data))
    except PhotoError as error:
        raise PhotoError(f"{photo}: {error}", error.code) from None


def _attributes(data: bytes) -> "Dataset":
    _require_extra()
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import Dataset
    from pydicom.multival import MultiValue

    from edgeskin.photo.dicom import quiet, read_attributes

    tags = [tag_for_keyword(name) or 0 for name in ATTRIBUTES]
    source = Dataset()
    try:
        with quiet():
            syntax, attributes, _ = read_attributes(data, tags)
            for name in ATTRIBUTES:
                value = attributes.get(name)
                if isinstance(value, MultiValue):  # which none of them may be
                    raise _unusable()
                setattr(source, name, str(value or ""))
    except PhotoError:
        raise
    except Exception:  # which quotes the value
        raise _unusable() from None
    if not all(source[name].value for name in ATTRIBUTES if name.endswith("UID")):
        raise PhotoError("this DICOM file does not identify itself and its study; export it again", "damaged")
    if syntax in LOSSY:
        source.LossyImageCompression = "01"
    return source


def encode(assessment: Assessment, path: Path, created: datetime, source: Source) -> bytes:
    """The content of a report of the kind that its path's suffix names.

    Args:
        assessment: Of the photograph, with ``explain=``.
        path: Of the report.
        created: When it was made, with a time zone.
        source: The photograph.

    Raises:
        PhotoError: The attributes of patient or study are not valid DICOM.
    """
    _require_extra()
    from edgeskin.photo.dicom import quiet

    write = _report if path.name.lower().endswith(STRUCTURED_REPORT) else _capture
    buffer = io.BytesIO()
    try:
        with quiet():
            document = write(assessment, source.attributes)
            document.SpecificCharacterSet = "ISO_IR 192"
            document.ContentDate, document.ContentTime = created.date(), created.time()
            document.save_as(buffer, enforce_file_format=True)
    except (KeyError, TypeError, ValueError):  # of highdicom, which quotes the value
        raise PhotoError(f"{assessment.image}: {_unusable()}", "damaged") from None
    return buffer.getvalue()


def _unusable() -> PhotoError:
    return PhotoError(
        "its attributes of patient or study are not valid DICOM, so nothing can refer to it; correct them",
        "damaged",
    )


def _require_extra() -> None:
    if find_spec("highdicom") is None:
        raise SettingError('reports as DICOM need the extra dicom: pip install "edgeskin[dicom]"')


def _shared(assessment: Assessment, series: int, description: str) -> dict[str, Any]:
    """Arguments of both documents, each of which starts a new series."""
    from pydicom.uid import generate_uid

    return {
        "series_instance_uid": generate_uid(prefix=None),
        "sop_instance_uid": generate_uid(prefix=None),
        "series_number": series,
        "instance_number": 1,
        "series_description": description,
        "manufacturer": "edgeskin",
        "manufacturer_model_name": assessment.model.name,
        "software_versions": (__version__, assessment.model.version),
        "device_serial_number": assessment.model.sha256[:16],
    }


def _report(assessment: Assessment, source: "Dataset") -> "Dataset":
    """A Comprehensive SR: preliminary and not verified, for a person to read."""
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    model = assessment.model
    # One UID for all reports by the same bundle.
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, model.sha256).int}",
        name="edgeskin",
        manufacturer_name="edgeskin",
        model_name=model.name,
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(codes.DCM.Device, device),
    )
    measurements = []
    if assessment.cancer_probability is not None:
        percent = round(100 * assessment.cancer_probability, 4)
        measurements.append(sr.Measurement(codes.DCM.ProbabilityOfCancer, percent, codes.UCUM.Percent))
    group = sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(uid=generate_uid(prefix=None), identifier="lesion"),
        finding_type=codes.SCT.SkinLesion,
        algorithm_id=sr.AlgorithmIdentification(
            model.name,
            model.version,
            parameters=_parameters(assessment),
            family=codes.DCM.ArtificialIntelligence,
            manufacturer="edgeskin",
        ),
        measurements=measurements,
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name, value) for name, value in _evaluations(assessment)
        ],
        source_images=[sr.SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
    )
    return sr.ComprehensiveSR(
        evidence=[source],
        content=sr.MeasurementReport(context, codes.SCT.DermoscopicPhotography, [group]),
        is_complete=True,
        is_final=False,
        is_verified=False,
        **_shared(assessment, REPORT_SERIES, f"edgeskin: {NOT_FOR_DIAGNOSIS}"),
    )


def _parameters(assessment: Assessment) -> list[str]:
    model = assessment.model
    points = assessment.operating_points or ()
    return [
        f"bundle SHA-256: {model.sha256}",
        f"precision: {model.precision}",
        f"edgeskin: {__version__}",
        *(f"threshold of {point.name}: {100 * point.threshold:.4f} %" for point in points),
    ]


def _evaluations(assessment: Assessment) -> "list[tuple[Code, Code]]":
    """Status, risk where there is one, action, and what the result is for."""
    from pydicom.sr.coding import Code

    assert assessment.action_code is not None
    found: list[tuple[str, str, str, str]]
    found = [("STATUS", "Status of the assessment", assessment.status, assessment.status.replace("_", " "))]
    if assessment.risk is not None:
        found.append(("RISK", "Risk of cancer", assessment.risk, f"{assessment.risk} RISK of cancer"))
    found += [
        ("ACTION", "Recommended action", assessment.action_code, _MEANINGS[assessment.action_code]),
        ("USE", "Intended use", "research", "research; not for diagnosis"),
    ]
    return [(Code(name, SCHEME, title), Code(value, SCHEME, text)) for name, title, value, text in found]


def _capture(assessment: Assessment, source: "Dataset") -> "Dataset":
    """A Secondary Capture of the picture and its evidence, with what it is not for in its pixels."""
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import ExplicitVRLittleEndian

    capture = SCImage.from_ref_dataset(
        source,
        _page(assessment),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **_shared(assessment, CAPTURE_SERIES, f"edgeskin evidence map: {NOT_FOR_DIAGNOSIS}"),
    )
    # highdicom wants an orientation, which a photograph has not; the standard lets both be empty.
    capture.PatientOrientation = []
    capture.Laterality = source.ImageLaterality or source.Laterality
    for name in ("BurnedInAnnotation", "LossyImageCompression"):
        if source[name].value:
            setattr(capture, name, source[name].value)
    reference, purpose = Dataset(), Dataset()
    concept = codes.DCM.SourceImageForImageProcessingOperation
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = concept[:3]
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [purpose]
    capture.SourceImageSequence = [reference]
    capture.DerivationDescription = f"Evidence map of a neural network. {NOTICE}"
    return capture


def _page(assessment: Assessment) -> Image:
    """The page of the picture and its evidence, uint8 RGB (h, w, 3). The file's name is not on it."""
    model = assessment.model
    notice = NOTICE.replace(". ", ".\n")
    text = f"{verdict(assessment)}\nedgeskin {__version__}, {model.name} {model.version}\n{notice}"
    page = figures.page(assessment, text)
    for panel in range(1 if assessment.explanation is None else 2):
        # On a bar of its own, because letters alone can be as light as the skin.
        left, bottom = figures.panel_left(panel), figures.MARGIN + BAR
        page[figures.MARGIN : bottom, left : left + SHOWN_SIDE] = figures.BLACK
        corner = left + 8, bottom - 7
        cv2.putText(
            page, NOT_FOR_DIAGNOSIS, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.6, figures.WHITE, 1, cv2.LINE_AA
        )
    return page
