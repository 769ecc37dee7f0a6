"""OOD distances, against their formula written out; statistics that are refused."""

import io
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from edgeskin.decision.ood import OodStatistics, read_statistics, thumbnail, unit
from edgeskin.errors import BundleError
from edgeskin.network.engine import NetworkOutputs
from tests.conftest import micro_statistics

pytestmark = pytest.mark.hazard("H-05")


def stored(values: dict[str, np.ndarray], save: Callable[..., None] = np.savez) -> bytes:
    file = io.BytesIO()
    save(file, **values)
    return file.getvalue()


@pytest.fixture(scope="module")
def statistics() -> OodStatistics:
    return read_statistics(stored(micro_statistics()))


def drawn(n: int, views: int = 1) -> NetworkOutputs:
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(n, views, 8)).astype(np.float32)
    return NetworkOutputs(logits, rng.random((n, views, 16), np.float32))


def by_formula(features: np.ndarray, logits: np.ndarray, picture: np.ndarray) -> tuple[float, float]:
    """Both distances of one picture, in float64."""
    v = {name: np.asarray(value, np.float64) for name, value in micro_statistics().items()}
    centred = features / np.linalg.norm(features) - v["feature_mean"]
    residual = np.linalg.norm(centred - v["feature_basis"] @ (v["feature_basis"].T @ centred))
    energy = np.log(np.exp(logits - logits.mean()).sum())
    apart = picture - v["picture_mean"]
    residual_of_picture = np.linalg.norm(apart - v["picture_basis"] @ (v["picture_basis"].T @ apart))
    # alpha is 2; the centres are 1 and 2, the spreads 1 and 3.
    return float(2 * residual - energy - 1), float((residual_of_picture - 2) / 3)


def test_the_score_is_the_formulas(statistics: OodStatistics) -> None:
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    outputs = drawn(1, views=8)
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1) / 255
    features, picture = by_formula(
        outputs.view_features[0].mean(axis=0), outputs.view_logits[0].mean(axis=0).astype(np.float64), small
    )
    found = statistics.score(outputs, image, 3.0)
    assert found.features == pytest.approx(features, abs=1e-4)
    assert found.picture == pytest.approx(picture, abs=1e-4)
    assert found.score == found.features + found.picture
    assert found.threshold == 3.0


def test_many_pictures_are_as_one_by_one(statistics: OodStatistics) -> None:
    outputs = drawn(20)
    pictures = np.random.default_rng(2).random((20, 768), np.float32)
    together = statistics.distances(outputs.features, outputs.logits, pictures)
    for place in range(20):
        expected = by_formula(outputs.features[place], outputs.logits[place], pictures[place])
        np.testing.assert_allclose(together[place], expected, atol=1e-4)


def test_an_offset_of_the_logits_changes_nothing(statistics: OodStatistics) -> None:
    outputs = drawn(20)
    pictures = np.zeros((20, 768), np.float32)
    np.testing.assert_allclose(
        statistics.distances(outputs.features, outputs.logits - 100, pictures),
        statistics.distances(outputs.features, outputs.logits, pictures),
        atol=1e-3,
    )


def test_unit_features_have_length_1_and_nothing_stays_nothing() -> None:
    scaled = unit(np.float32([[3, 4], [0, 0], [0, -2]]))
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0, 0], [0, -1]], rtol=1e-6)


def test_a_thumbnail_is_the_mean_of_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)).reshape(-1) / 255
    np.testing.assert_allclose(thumbnail(image), means, atol=0.51 / 255)


def test_statistics_are_read_as_they_were_stored(statistics: OodStatistics) -> None:
    for name, value in micro_statistics().items():
        np.testing.assert_array_equal(getattr(statistics, name), value)


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": np.float32(-2)},
        {"alpha": np.float32(0)},
        {"spread": np.float32([1, -3])},
        {"spread": np.float32([0, 3])},
        {"feature_mean": np.zeros(15, np.float32)},
        {"feature_mean": np.full(16, np.nan, np.float32)},
        {"feature_mean": np.zeros(16)},
        {"picture_mean": np.zeros(300, np.float32), "picture_basis": np.zeros((300, 5), np.float32)},
    ],
    ids=["negative", "zero", "negative-spread", "zero-spread", "shape", "nan", "float64", "other-side"],
)
def test_statistics_that_do_not_fit_are_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(BundleError, match=r"^ood\.npz: "):
        read_statistics(stored(micro_statistics() | changes))


def test_files_that_are_no_statistics_are_refused() -> None:
    whole = micro_statistics()
    missing = {name: value for name, value in whole.items() if name != "alpha"}
    for content in (b"no arrays", stored(missing), stored(whole, np.savez_compressed)):
        with pytest.raises(BundleError, match=r"^ood\.npz: "):
            read_statistics(content)
