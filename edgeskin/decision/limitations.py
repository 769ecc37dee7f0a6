"""Where little or nothing is known of networks trained on the public archives, as the default bundle's, and
which of that applies to the case at hand.
"""

from dataclasses import dataclass

from edgeskin.errors import SettingError

YOUNG = 40
SITES = (
    "head/neck", "anterior torso", "posterior torso", "lateral torso", "upper extremity", "lower extremity",
    "palms/soles", "nail", "oral/genital",
)  # fmt: skip
"""The ISIC archive's general sites, and the nail."""

_YOUNG = f"under {YOUNG} years: fewer of the cancers are found than at other ages"
_OF_SITE = {
    "palms/soles": "palms and soles: too few pictures to say how many cancers are found",
    "nail": "nails: no pictures to learn from or to test on",
    "oral/genital": "mucosa: no cancers to learn from or to test on",
}
EVERYWHERE = (
    "dark skin: skin tones were not recorded, so nothing is known for it",
    "melanoma without pigment: not marked in the data, so nothing is known for it",
)


@dataclass(frozen=True)
class Context:
    """What is known beside the picture. age: years. site: one of SITES. None: not told.

    Raises SettingError for an age outside 0 to 120 or another site.
    """

    age: float | None = None
    site: str | None = None

    def __post_init__(self) -> None:
        if self.age is not None and not 0 <= self.age <= 120:
            raise SettingError(f"age {self.age!r}: choose 0 to 120 years, or leave it off")
        if self.site is not None and self.site not in SITES:
            raise SettingError(f"site {self.site!r}: choose one of {', '.join(SITES)}, or leave it off")


def blind_spots(context: Context) -> tuple[str, ...]:
    """Those that apply, or may apply since age or site was not told; then those that no one can tell."""
    spots = []
    if context.age is None or context.age < YOUNG:
        spots.append(_YOUNG if context.age is not None else f"if {_YOUNG}")
    if context.site is None:
        spots.append("if on palms, soles, nails or mucosa: hardly any pictures to learn from or to test on")
    elif context.site in _OF_SITE:
        spots.append(_OF_SITE[context.site])
    return (*spots, *EVERYWHERE)
