"""Diagnosis codes and their names."""

from edgeskin.taxonomy import CANCER, FULL_NAMES, ISIC_2019, SEVERITY, full_name


def test_every_class_has_a_name_and_every_cancer_a_severity() -> None:
    assert set(FULL_NAMES) == set(ISIC_2019)
    assert len(SEVERITY) == len(CANCER)
    assert set(SEVERITY) == set(CANCER) < set(ISIC_2019)


def test_a_code_of_another_taxonomy_is_its_own_name() -> None:
    assert full_name("MEL") == "melanoma"
    assert full_name("wart") == "wart"
