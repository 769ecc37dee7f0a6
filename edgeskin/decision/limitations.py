"""Known limitations of networks trained on the public archives, and which of them apply to a case."""

from dataclasses import dataclass
from numbers import Real
from types import NoneType

from edgeskin.errors import SettingError, require_kind
from edgeskin.results import Limitation

YOUNG = 40
SITES = (
    "head/neck", "anterior torso", "posterior torso", "lateral torso", "upper extremity", "lower extremity",
    "palms/soles", "nail", "oral/genital",
)  # fmt: skip
"""The ISIC archive's general sites, and the nail."""

_YOUNG = f"under {YOUNG} years: fewer of the cancers are found than at other ages"
_BY_SITE = {
    "palms/soles": Limitation(
        "site_palms_soles",
        "palms and soles",
        "palms and soles: too few pictures to say how many cancers are found",
    ),
    "nail": Limitation("site_nail", "nails", "nails: no pictures to learn from or to test on"),
    "oral/genital": Limitation("site_mucosa", "mucosa", "mucosa: no cancers to learn from or to test on"),
}
_SITE_UNKNOWN = Limitation(
    "site_unknown",
    "palms, soles, nails, mucosa",
    "if on palms, soles, nails or mucosa: hardly any pictures to learn from or to test on",
)
ALWAYS = (
    Limitation(
        "skin_tone", "dark skin", "dark skin: skin tones were not recorded, so nothing is known for it"
    ),
    Limitation(
        "amelanotic_melanoma",
        "pale melanoma",
        "melanoma without pigment: not marked in the data, so nothing is known for it",
    ),
)


@dataclass(frozen=True)
class PatientContext:
    """What is known besides the picture; it changes which limitations are shown, nothing else.

    Attributes:
        age: Years, 0 to 120; None if unknown.
        site: One of SITES; None if unknown.

    Raises:
        SettingError: An age or site outside these.
    """

    age: float | None = None
    site: str | None = None

    def __post_init__(self) -> None:
        years, sites = (
            "a number of years, 0 to 120, or leave it off",
            f"one of {', '.join(SITES)}, or leave it off",
        )
        require_kind("age", self.age, (Real, NoneType), years)
        if self.age is not None and not 0 <= self.age <= 120:
            raise SettingError(f"age {self.age:g}: choose {years}")
        require_kind("site", self.site, (str, NoneType), sites)
        if self.site is not None and self.site not in SITES:
            raise SettingError(f"site {self.site!r}: choose {sites}")


def known_limitations(context: PatientContext) -> tuple[Limitation, ...]:
    """Those that apply, or may apply since age or site is unknown; then those that always may."""
    limitations = []
    if context.age is None:
        limitations.append(Limitation("age_unknown", f"under-{YOUNG}s", f"if {_YOUNG}"))
    elif context.age < YOUNG:
        limitations.append(Limitation("age_under_40", f"under-{YOUNG}s", _YOUNG))
    if context.site is None:
        limitations.append(_SITE_UNKNOWN)
    elif context.site in _BY_SITE:
        limitations.append(_BY_SITE[context.site])
    return (*limitations, *ALWAYS)
