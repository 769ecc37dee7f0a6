"""Diagnosis codes of the ISIC 2019 challenge and their names.

A bundle's manifest lists the classes of its network, their order, and which of them are cancer. The
runtime works with any classes, not only with these eight.
"""

ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
"""The classes of the ISIC 2019 challenge, in its order."""

CANCER = ("MEL", "BCC", "AK", "SCC")
"""Cancers and the pre-cancer AK. HAM10000's ``akiec`` holds AK and intraepithelial carcinoma."""

SEVERITY = ("MEL", "SCC", "BCC", "AK")
"""Cancers by how likely they are to spread, most likely first."""

FULL_NAMES = {
    "MEL": "melanoma",
    "NV": "melanocytic nevus",
    "BCC": "basal cell carcinoma",
    "AK": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
    "SCC": "squamous cell carcinoma",
}


def full_name(code: str) -> str:
    """Return the name of a diagnosis code, or the code itself if it is not one of FULL_NAMES."""
    return FULL_NAMES.get(code, code)
