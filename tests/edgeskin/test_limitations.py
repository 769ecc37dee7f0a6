"""Known limitations: which apply, by their codes."""

import pytest

from edgeskin.decision.limitations import ALWAYS, SITES, PatientContext, known_limitations
from edgeskin.errors import SettingError

pytestmark = pytest.mark.hazard("H-13")


def codes(age: float | None, site: str | None) -> list[str]:
    return [limitation.code for limitation in known_limitations(PatientContext(age, site))]


@pytest.mark.parametrize(
    ("age", "code"), [(39.9, "age_under_40"), (0, "age_under_40"), (40, None), (None, "age_unknown")]
)
def test_the_age(age: float | None, code: str | None) -> None:
    found = codes(age, "head/neck")
    assert [one for one in found if one.startswith("age")] == ([code] if code else [])


@pytest.mark.parametrize(
    ("site", "code"),
    [
        ("nail", "site_nail"),
        ("palms/soles", "site_palms_soles"),
        ("oral/genital", "site_mucosa"),
        (None, "site_unknown"),
        ("upper extremity", None),
    ],
)
def test_the_site(site: str | None, code: str | None) -> None:
    found = codes(50, site)
    assert [one for one in found if one.startswith("site")] == ([code] if code else [])


def test_what_nobody_recorded_always_applies() -> None:
    assert [limitation.code for limitation in ALWAYS] == ["skin_tone", "amelanotic_melanoma"]
    for site in (*SITES, None):
        assert known_limitations(PatientContext(70, site))[-2:] == ALWAYS
    assert codes(70, "upper extremity") == ["skin_tone", "amelanotic_melanoma"]


def test_without_context_nothing_is_ruled_out() -> None:
    assert codes(None, None) == ["age_unknown", "site_unknown", "skin_tone", "amelanotic_melanoma"]


def test_every_limitation_has_its_own_code_and_texts() -> None:
    found = {
        limitation.code: limitation
        for age in (None, 30, 50)
        for site in (*SITES, None)
        for limitation in known_limitations(PatientContext(age, site))
    }
    assert len({one.text for one in found.values()}) == len(found) == 8
    assert all(one.subject and one.text for one in found.values())


@pytest.mark.parametrize(
    "context",
    [
        *({"age": age} for age in (-1, 200, float("nan"), float("inf"), "30", True)),
        *({"site": site} for site in ("elbow", 3, True)),
    ],
)
def test_impossible_contexts_are_refused(context: dict[str, object]) -> None:
    (value,) = context.values()
    with pytest.raises(SettingError, match=str(value)) as caught:
        PatientContext(**context)  # type: ignore[arg-type]
    assert caught.value.code == "setting"
