import pytest

from edgeskin.decision.limitations import EVERYWHERE, SITES, Context, blind_spots
from edgeskin.errors import SettingError


@pytest.mark.parametrize(("age", "told"), [(39.9, "under 40 years"), (40, None), (None, "if under 40 years")])
def test_the_young_are_told(age: float | None, told: str | None) -> None:
    spots = blind_spots(Context(age, "head/neck"))
    assert [spot.split(":")[0] for spot in spots if "40" in spot] == ([told] if told else [])


@pytest.mark.parametrize(
    ("site", "told"),
    [("nail", "nails"), ("palms/soles", "palms"), ("oral/genital", "mucosa"), (None, "if on")],
)
def test_sites_without_pictures_are_told(site: str | None, told: str) -> None:
    assert any(spot.startswith(told) for spot in blind_spots(Context(50, site)))


def test_what_no_one_can_tell_is_always_told() -> None:
    for site in SITES:
        assert blind_spots(Context(70, site))[-2:] == EVERYWHERE
    assert blind_spots(Context(70, "upper extremity")) == EVERYWHERE


@pytest.mark.parametrize("context", [{"age": -1}, {"age": 200}, {"age": float("nan")}, {"site": "elbow"}])
def test_what_cannot_be_is_refused(context: dict[str, object]) -> None:
    with pytest.raises(SettingError, match="choose"):
        Context(**context)
