"""What the diagnosis codes of the ISIC 2019 challenge stand for.

Only names live here. Which classes a network knows, in which order, and which of them count as
cancer is the manifest's business: nothing in the runtime assumes these eight.
"""

ISIC_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
CANCER = ("MEL", "BCC", "AK", "SCC")
"""Cancers and the pre-cancer AK; HAM10000's ``akiec`` holds AK and intraepithelial carcinoma."""

SERIOUSNESS = ("MEL", "SCC", "BCC", "AK")
"""Most serious first, by how likely it is to spread."""

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
    """The plain name of a diagnosis code; a code of the user's own is its own name."""
    return FULL_NAMES.get(code, code)
