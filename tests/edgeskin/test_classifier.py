"""The classifier: assessments by hand, workers, gates, copies, and what it refuses."""

import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import openvino
import pytest

from edgeskin import Assessment, Classifier, PatientContext, open_bundle
from edgeskin.classifier import classifier as classifier_module
from edgeskin.errors import BundleError, EdgeskinError, PhotoError, SettingError
from edgeskin.imaging.preprocess import center_square, preprocess, resize
from edgeskin.photo.decode import Photo
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import Method, Quality
from tests.conftest import (
    MICRO_PRIORS,
    MICRO_SIZE,
    ROOT,
    change_rules,
    micro_head,
    micro_network,
    write_manifest,
)


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Classifier:
    return Classifier(shared_micro_bundle, "fp32", threads=1, quality_gate=False)


@pytest.fixture(scope="module")
def image(lesion_jpg: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.fromfile(lesion_jpg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_quality_alone_is_that_of_the_assessment(classifier: Classifier, lesion_jpg: Path) -> None:
    assert classifier.assess_quality(lesion_jpg) == classifier.assess(lesion_jpg).quality
    with pytest.raises(PhotoError) as caught:
        classifier.assess_quality(b"no picture")
    assert caught.value.code == "unsupported_format"


def test_an_assessment_puts_network_temperature_and_thresholds_together(
    classifier: Classifier, image: np.ndarray
) -> None:
    result = classifier.assess(image)
    logits = classifier.engine.infer(preprocess(image, classifier.manifest.preprocessing)).logits[0]
    powers = np.exp(logits.astype(np.float64) / 1.5)
    expected = powers / powers.sum()
    assert result.probabilities is not None
    assert result.cancer_probability is not None
    np.testing.assert_allclose(list(result.probabilities.values()), expected, atol=1e-9)
    assert result.cancer_probability == pytest.approx(expected[[0, 2, 3, 7]].sum())
    assert result.prevalence == pytest.approx(0.1 + 0.05 + 0.05 + 0.05)
    assert result.predicted_class == classifier.manifest.classes[(expected / MICRO_PRIORS).argmax()]
    p = result.cancer_probability
    expected_risk = ("LOW", "no_referral") if p < 0.3 else ("MEDIUM", "refer")
    assert (result.risk, result.action_code) == (expected_risk if p < 0.6 else ("HIGH", "refer_urgently"))
    assert result.operating_points is not None
    assert result.operating_point == result.operating_points[0]
    assert [(point.name, point.threshold) for point in result.operating_points] == [
        ("screen", 0.3), ("balanced", 0.6)
    ]  # fmt: skip
    assert result.model == classifier.model
    assert (result.model.name, result.model.precision) == ("micro", "fp32")
    assert result.model.sha256 == classifier.bundle.sha256


@pytest.mark.parametrize(
    ("screen", "balanced", "risk", "code"),
    [(0.0, 0.0, "HIGH", "refer_urgently"), (0.0, 1.0, "MEDIUM", "refer"), (1.0, 1.0, "LOW", "no_referral")],
)
def test_every_risk_has_its_action(
    micro_bundle: Path, image: np.ndarray, screen: float, balanced: float, risk: str, code: str
) -> None:
    point = {"target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    change_rules(
        micro_bundle,
        operating_points=[
            point | {"name": "screen", "threshold": screen},
            point | {"name": "balanced", "threshold": balanced},
        ],
    )
    result = Classifier(micro_bundle).assess(image)
    assert (result.risk, result.action_code) == (risk, code)
    assert result.operating_point is not None
    assert result.operating_point.bound is None


def test_path_bytes_and_array_agree_and_are_named(classifier: Classifier, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    path = tmp_path / "é ü 皮膚.png"
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
    results = [classifier.assess(source) for source in (path, str(path), path.read_bytes(), image)]
    assert len({result.cancer_probability for result in results}) == 1
    assert [result.image for result in results] == [str(path), str(path), "<bytes>", "<ndarray>"]


def test_a_name_stands_for_bytes_arrays_and_paths(
    classifier: Classifier, image: np.ndarray, lesion_jpg: Path
) -> None:
    for source in (lesion_jpg.read_bytes(), image, lesion_jpg):
        assert classifier.assess(source, name="upload 7").image == "upload 7"
    with pytest.raises(PhotoError):
        classifier.assess(b"no picture", name="upload 8")
    (failed,) = classifier.assess_many([b"no picture"])
    assert (failed.image, failed.status) == ("<bytes>", "error")
    dark = classifier.assess(np.zeros((300, 300, 3), np.uint8), name="upload 9")
    assert dark.image == "upload 9"


@pytest.mark.hazard("H-15")
def test_listed_pictures_have_names_ages_and_sites_of_their_own(
    classifier: Classifier, lesion_jpg: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no picture")
    os.utime(bad, (1_600_000_000, 1_600_000_000))
    photos = [
        PhotoRef("first", str(lesion_jpg)),
        PhotoRef("second", str(lesion_jpg), age=30.0, site="nail"),
        PhotoRef("third", str(bad)),
        PhotoRef("fourth", str(tmp_path / "missing.jpg")),
    ]
    first, second, third, fourth = classifier.assess_many(photos, context=PatientContext(age=70))
    assert [one.image for one in (first, second, third, fourth)] == ["first", "second", "third", "fourth"]
    assert first.limitations[0].code == "site_unknown"
    assert [one.code for one in second.limitations][:2] == ["age_under_40", "site_nail"]
    assert first.probabilities == classifier.assess(lesion_jpg).probabilities
    assert third.error is not None
    assert fourth.error is not None
    assert (third.error.code, fourth.error.code) == ("unsupported_format", "not_found")
    assert third.error.message.startswith("third: ")
    assert "<bytes>" not in third.error.message


@pytest.mark.hazard("H-15")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_asynchronous_answers_are_the_same(
    shared_micro_bundle: Path, lesion_jpg: Path, workers: int
) -> None:
    """In order, from an iterable of either kind, while the event loop goes on."""
    sources: list[Any] = [lesion_jpg, "missing.jpg", lesion_jpg.read_bytes()] * 3
    ticks = 0

    async def asynchronous() -> AsyncIterator[Any]:
        for source in sources:
            yield source

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    async def assess(images: Any) -> list[Assessment]:
        ticking = asyncio.create_task(tick())
        found = [one async for one in several.assess_many_async(images)]
        ticking.cancel()
        return found

    with Classifier(shared_micro_bundle, threads=2, workers=workers) as several:
        wanted = list(several.assess_many(sources))
        assert asyncio.run(assess(sources)) == wanted
        assert asyncio.run(assess(asynchronous())) == wanted
        assert ticks > 10
        with pytest.raises(SettingError):
            several.assess_many_async(lesion_jpg)  # type: ignore[arg-type]


@pytest.mark.hazard("H-14")
def test_the_event_loop_goes_on_while_photos_are_waited_for(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    """The iterable waits for what the event loop does meanwhile."""
    goes_on = threading.Event()

    def waiting() -> Iterator[Path]:
        assert goes_on.wait(30)
        yield lesion_jpg

    async def assess() -> list[Assessment]:
        asyncio.get_running_loop().call_later(0.1, goes_on.set)
        return [one async for one in classifier.assess_many_async(waiting())]

    with Classifier(shared_micro_bundle, threads=1) as classifier:
        assert [one.status for one in asyncio.run(assess())] == ["assessed"]


@pytest.mark.hazard("H-14")
def test_an_asynchronous_run_takes_no_more_than_it_needs_and_may_be_left(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield lesion_jpg

    async def first() -> Assessment:
        results = classifier.assess_many_async(endless())
        async for one in results:
            await results.aclose()  # type: ignore[attr-defined]
            return one
        raise AssertionError

    with Classifier(shared_micro_bundle, threads=2, workers=2) as classifier:
        assert asyncio.run(first()).status == "assessed"
        assert taken == 5


@pytest.mark.hazard("H-14")
def test_one_bad_photo_stops_nothing(classifier: Classifier, lesion_jpg: Path, tmp_path: Path) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no picture")
    results = list(classifier.assess_many([lesion_jpg, bad, lesion_jpg]))
    assert [result.status for result in results] == ["assessed", "error", "assessed"]
    failed = results[1]
    assert (failed.risk, failed.action, failed.action_code) == (None, None, None)
    assert failed.error is not None
    assert (failed.error.type, failed.error.code) == ("PhotoError", "unsupported_format")
    assert "text.jpg" in failed.error.message
    assert "total" in failed.timing_ms
    with pytest.raises(PhotoError, match=r"text\.jpg"):
        classifier.assess(bad)


@pytest.mark.parametrize("kind", ["str", "path", "bytes", "array"])
def test_assess_many_refuses_a_single_photo(
    classifier: Classifier, lesion_jpg: Path, image: np.ndarray, kind: str
) -> None:
    """A string would be taken apart by letters, bytes by numbers, an array by rows."""
    one = {"str": str(lesion_jpg), "path": lesion_jpg, "bytes": lesion_jpg.read_bytes(), "array": image}[kind]
    with pytest.raises(SettingError) as caught:
        classifier.assess_many(one)  # type: ignore[arg-type]  # before the first result is asked for
    assert caught.value.code == "setting"


@pytest.mark.hazard("H-15", "H-19")
def test_workers_give_the_same_answers_in_order(
    shared_micro_bundle: Path, lesion_folder: Path, tmp_path: Path
) -> None:
    photos = sorted(lesion_folder.rglob("*.png"))[:20]
    photos.insert(7, tmp_path / "missing.jpg")
    one, several = (
        list(Classifier(shared_micro_bundle, threads=3, quality_gate=False, workers=n).assess_many(photos))
        for n in (1, 3)
    )
    assert [result.image for result in several] == [str(photo) for photo in photos]
    assert [result.status for result in several] == [result.status for result in one]
    p = [[result.cancer_probability or 0 for result in results] for results in (one, several)]
    np.testing.assert_allclose(*p, atol=1e-6)


def test_workers_work_at_the_same_time(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    """Each photo is opened only while another is: one after the other, the barrier breaks."""
    meeting = threading.Barrier(2, timeout=30)

    class Photo(os.PathLike[str]):
        opened = 0

        def __fspath__(self) -> str:
            self.opened += 1
            if self.opened == 1:
                meeting.wait()
            return str(lesion_jpg)

    results = Classifier(shared_micro_bundle, threads=2, workers=2).assess_many([Photo() for _ in range(4)])
    assert [result.status for result in results] == ["assessed"] * 4


@pytest.mark.hazard("H-18")
@pytest.mark.parametrize("workers", [1, 2])
def test_photos_are_taken_as_they_are_needed(
    shared_micro_bundle: Path, lesion_jpg: Path, workers: int
) -> None:
    """These photos have no end, and whoever stops asking stops the work."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield lesion_jpg

    results = Classifier(shared_micro_bundle, threads=2, workers=workers).assess_many(endless())
    for _ in range(10):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert taken <= 10 + 2 * workers


@pytest.mark.hazard("H-14")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_bundle_stops_every_worker(
    micro_bundle: Path, lesion_jpg: Path, workers: int
) -> None:
    classifier = Classifier(micro_bundle, threads=2, workers=workers, quality_gate=False)
    (micro_bundle / "head.npz").write_bytes(b"")  # which is read when it is needed
    with pytest.raises(BundleError, match=r"head\.npz"):
        list(classifier.assess_many([lesion_jpg] * 5, mc_samples=5))


@pytest.mark.parametrize("workers", [0, 3, 1.5])
def test_workers_out_of_range_are_refused(shared_micro_bundle: Path, workers: int) -> None:
    with pytest.raises(SettingError, match=str(workers)):
        Classifier(shared_micro_bundle, threads=2, workers=workers)


def test_an_unknown_precision_is_refused(shared_micro_bundle: Path) -> None:
    with pytest.raises(SettingError, match="int4"):
        Classifier(shared_micro_bundle, "int4")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"explain": "gradcam"}, {"explain": "grad-cam", "target": "XYZ"}, {"mc_samples": 1}, {"mc_samples": -1},
     {"mc_samples": 5, "seed": -1}],
    ids=["method", "target", "one-sample", "negative", "seed"],
)  # fmt: skip
def test_options_out_of_range_are_refused_for_all_photos(
    classifier: Classifier, lesion_jpg: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(SettingError):
        classifier.assess(lesion_jpg, **options)  # type: ignore[arg-type]
    with pytest.raises(SettingError):
        list(classifier.assess_many([tmp_path / "missing.jpg", lesion_jpg], **options))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sensitivity", value) for value in ("0.9", True, float("nan"), float("inf"))),
        *(("cache_dir", value) for value in (b"x", 3, "", " ")),
        *(("bundle", value) for value in (3, b"x", "", " ")),
        *(("threads", value) for value in (True, "2", 1.5)),
        *(("workers", value) for value in (True, "1", None)),
        *(("precision", value) for value in (None, 8, "INT8")),
        *(("quality_gate", value) for value in ("no", 0, None)),
        *(("scope_gate", value) for value in ("no", 0, None)),
        ("cache_read_only", "no"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused_by_name(
    shared_micro_bundle: Path, name: str, value: object
) -> None:
    """As they come from a form: 'no' would be true, and an empty text the working folder."""
    settings = {"bundle": shared_micro_bundle, "threads": 1} | {name: value}
    with pytest.raises(SettingError) as caught:
        Classifier(**settings)
    words = str(value) if isinstance(value, float) else repr(value)
    assert str(caught.value).startswith(f"{name} {words}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mc_samples", value) for value in ("30", 2.0, None, True, "")),
        *(("seed", value) for value in (1.5, "1", None, True, -1)),
        *(("explain", value) for value in (3, True, "")),
        *(("target", value) for value in (None, 3)),
        *(("context", value) for value in ({"age": 3}, 35)),
        *(("name", value) for value in (3, b"x")),
    ],
)
def test_options_of_the_wrong_kind_are_refused_by_name(
    classifier: Classifier, image: np.ndarray, name: str, value: object
) -> None:
    with pytest.raises(SettingError) as caught:
        classifier.assess(image, **{name: value})
    assert str(caught.value).startswith(f"{'method' if value == '' and name == 'explain' else name} ")
    assert repr(value) in str(caught.value)
    if name != "name":
        with pytest.raises(SettingError):
            list(classifier.assess_many([image], **{name: value}))


@pytest.mark.parametrize("path", ["", " "])
def test_an_empty_path_is_no_photo(classifier: Classifier, path: str) -> None:
    with pytest.raises(PhotoError):
        classifier.assess(path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
def test_a_photo_that_needs_too_much_memory_stops_nothing(
    classifier: Classifier, image: np.ndarray, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the network's outputs do not fit; the next photo may need less."""
    empty, errors = np.empty, iter([error])

    def allocate(*arguments: object, **options: object) -> np.ndarray:
        for one in errors:
            raise one
        return empty(*arguments, **options)

    monkeypatch.setattr("edgeskin.network.engine.np.empty", allocate)
    failed, assessed = classifier.assess_many([image, image])
    assert (failed.status, assessed.status) == ("error", "assessed")
    assert failed.error is not None
    assert (failed.error.type, failed.error.code) == ("ResourceError", "out_of_memory")
    assert failed.error.message.startswith("<ndarray>: ")


@pytest.mark.hazard("H-07")
def test_a_network_of_other_classes_is_refused(micro_bundle: Path) -> None:
    classes = {"classes": ["MEL", "NV"], "cancer_classes": ["MEL"]}
    calibration = {"method": "", "weights": [[1.0, 0.0], [0.0, 1.0]], "bias": [0.0, 0.0]}
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    rules = classes | {"calibration": calibration, "operating_points": [point]}
    write_manifest(micro_bundle, ood=None, decision_rules={"fp32": rules, "int8": rules}, **classes)
    with pytest.raises(BundleError, match=r"int8\.xml: .* 8\).* 2\)"):
        Classifier(micro_bundle)


@pytest.mark.hazard("H-07")
def test_a_network_of_another_size_than_the_manifest_is_refused(micro_bundle: Path) -> None:
    write_manifest(micro_bundle, preprocessing={"size": 96})
    with pytest.raises(BundleError, match="96"):
        Classifier(micro_bundle)


@pytest.mark.hazard("H-05", "H-16")
def test_a_picture_far_from_training_gets_no_risk(micro_bundle: Path, lesion_jpg: Path) -> None:
    change_rules(micro_bundle, ood_threshold=-1e3)
    result = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    assert (result.status, result.risk, result.cancer_probability) == ("out_of_scope", None, None)
    assert result.action_code == "out_of_scope"
    assert result.ood is not None
    assert result.ood.score > result.ood.threshold == -1e3
    ungated = Classifier(micro_bundle, quality_gate=False, scope_gate=False).assess(lesion_jpg)
    assert (ungated.status, ungated.ood) == ("assessed", result.ood)


def test_the_ood_score_is_that_of_the_outputs(classifier: Classifier, image: np.ndarray) -> None:
    """The formula written out, on the stored arrays."""
    result = classifier.assess(image)
    prepared = preprocess(image, classifier.manifest.preprocessing)
    outputs = classifier.engine.infer(prepared)
    with np.load(classifier.bundle.folder / "ood.npz") as stored:
        values = {name: stored[name].astype(np.float64) for name in stored.files}
    features = outputs.features[0].astype(np.float64)
    centred = features / np.linalg.norm(features) - values["feature_mean"]
    residual = np.linalg.norm(centred - values["feature_basis"] @ (values["feature_basis"].T @ centred))
    logits = outputs.logits[0].astype(np.float64)
    energy = np.log(np.exp(logits - logits.mean()).sum())
    small = cv2.resize(prepared, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1) / 255
    apart = small - values["picture_mean"]
    of_picture = np.linalg.norm(apart - values["picture_basis"] @ (values["picture_basis"].T @ apart))
    assert result.ood is not None
    assert result.ood.features == pytest.approx(2 * residual - energy - 1, abs=1e-3)
    assert result.ood.picture == pytest.approx((of_picture - 2) / 3, abs=1e-3)
    assert result.ood.score == pytest.approx(result.ood.features + result.ood.picture)


@pytest.mark.hazard("H-07")
def test_ood_statistics_of_another_network_are_refused(micro_bundle: Path) -> None:
    rng = np.random.default_rng(0)
    with np.load(micro_bundle / "ood.npz") as stored:
        values = {name: stored[name] for name in stored.files}
    basis = np.linalg.qr(rng.random((20, 4), np.float32))[0]
    changed = {"feature_mean": rng.random(20, np.float32), "feature_basis": basis}
    np.savez(micro_bundle / "ood.npz", **values | changed)
    write_manifest(micro_bundle)
    with pytest.raises(BundleError, match=r"ood\.npz"):
        Classifier(micro_bundle, quality_gate=False)


@pytest.mark.hazard("H-07")
@pytest.mark.parametrize("widths", [(5, 8), (16, 3)])
def test_a_head_of_another_network_is_refused(
    widths: tuple[int, int], micro_bundle: Path, lesion_jpg: Path
) -> None:
    """The head's arrays fit each other, but they have other features or classes."""
    features, classes = widths
    other = {"linear1_weight": (12, features), "linear2_weight": (classes, 12), "linear2_bias": (classes,)}
    changes = {name: np.zeros(shape, np.float32) for name, shape in other.items()}
    np.savez(micro_bundle / "head.npz", **(micro_head() | changes))
    write_manifest(micro_bundle)
    for options in ({"mc_samples": 5}, {"explain": "grad-cam"}):
        with pytest.raises(BundleError, match=rf"head\.npz: .*\({features}, {classes}\)"):
            list(Classifier(micro_bundle).assess_many([lesion_jpg], **options))


def test_a_sensitivity_moves_the_screening_point(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    """Of 100 lesions at 1 / 101, 2 / 101, ... four misses certify 0.9, five do not."""
    classifier = Classifier(shared_micro_bundle, quality_gate=False, sensitivity=0.9)
    point = classifier.rules.operating_points[0]
    assert point.bound is not None
    assert (point.name, point.threshold, point.bound.missed) == ("screen", 5 / 101, 4)
    assert point.bound.sensitivity >= 0.9
    assert (point.recall, point.specificity) == (0.96, 0.0)
    assert [point.name for point in classifier.rules.operating_points] == ["screen", "balanced"]
    result = classifier.assess(lesion_jpg)
    assert result.operating_point is not None
    assert (result.operating_point.threshold, result.operating_point.bound) == (5 / 101, point.bound)
    assert result.confidence is None
    for refused in (0.09, 1.0, float("nan")):
        with pytest.raises(SettingError, match=str(refused)):
            Classifier(shared_micro_bundle, sensitivity=refused)
    with pytest.raises(SettingError, match=r"0\.99\D.* 100 .*0\.97 "):
        Classifier(shared_micro_bundle, sensitivity=0.99)


def test_without_lesions_no_sensitivity_is_certified(micro_bundle: Path) -> None:
    change_rules(micro_bundle, lesion_scores=None)
    with pytest.raises(SettingError):
        Classifier(micro_bundle, sensitivity=0.9)


def test_the_prediction_set_and_its_most_serious_class(classifier: Classifier, lesion_jpg: Path) -> None:
    result = classifier.assess(lesion_jpg)
    assert result.probabilities is not None
    assert result.prediction_set is not None
    plausible = {name for name, share in result.probabilities.items() if share >= 0.1}
    assert set(result.prediction_set) == plausible | {
        max(result.probabilities, key=result.probabilities.__getitem__)
    }
    shares = [result.probabilities[name] for name in result.prediction_set]
    assert shares == sorted(shares, reverse=True)
    serious = [name for name in ("MEL", "SCC", "BCC", "AK") if name in result.prediction_set]
    assert result.most_serious_label == (serious or result.prediction_set)[0]


def test_bundles_without_optional_parts_assess_without_them(micro_bundle: Path, lesion_jpg: Path) -> None:
    before = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    values = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    optional = ("class_priors", "lesion_scores", "prediction_sets", "confidence", "ood_threshold")
    rules = {
        precision: {name: value for name, value in whole.items() if name not in optional}
        for precision, whole in values["decision_rules"].items()
    }
    write_manifest(micro_bundle, ood=None, decision_rules=rules)
    result = Classifier(micro_bundle, quality_gate=False).assess(lesion_jpg)
    assert result.cancer_probability == before.cancer_probability
    parts = ("ood", "prediction_set", "most_serious_label", "confidence", "class_priors", "prevalence")
    assert all(getattr(result, part) is None for part in parts)
    assert all(getattr(before, part) is not None for part in parts)
    assert result.probabilities is not None
    assert result.predicted_class == max(result.probabilities, key=result.probabilities.__getitem__)


@pytest.mark.hazard("H-16")
@pytest.mark.parametrize("scale", [float("inf"), 3e37], ids=["views", "mean"])
@pytest.mark.parametrize("ood", [True, False])
def test_an_answer_that_is_not_finite_is_an_error(
    micro_bundle: Path, lesion_jpg: Path, ood: bool, scale: float
) -> None:
    """Of a network whose logits overflow, or whose mean over the views does. It never has a risk."""
    network = micro_network(0, scale=scale)
    openvino.save_model(network, micro_bundle / "int8.xml", compress_to_fp16=False)
    changes = {"preprocessing": {"size": MICRO_SIZE, "views": 8}}
    write_manifest(micro_bundle, **changes, **({} if ood else {"ood": None}))
    classifier = Classifier(micro_bundle, quality_gate=False)
    with np.errstate(all="ignore"):
        with pytest.raises(EdgeskinError, match="micro") as caught:
            classifier.assess(lesion_jpg)
        (result,) = classifier.assess_many([lesion_jpg])
    assert caught.value.code == "not_finite"
    assert (result.status, result.risk) == ("error", None)
    assert result.error is not None
    assert result.error.code == "not_finite"


@pytest.mark.hazard("H-14")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("defect", [cv2.error("a check failed"), RuntimeError("secret.jpg")], ids=type)
def test_an_unforeseen_error_costs_one_photo(
    shared_micro_bundle: Path,
    lesion_jpg: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    defect: Exception,
    workers: int,
) -> None:
    """And the log says where it arose, without words that may name the photo."""
    assess_quality = classifier_module.assess_quality

    def with_a_defect(photo: Photo) -> Quality:
        if photo.width == 77:
            raise defect
        return assess_quality(photo)

    monkeypatch.setattr(classifier_module, "assess_quality", with_a_defect)
    odd = np.zeros((90, 77, 3), np.uint8)
    with Classifier(shared_micro_bundle, threads=2, workers=workers, quality_gate=False) as classifier:
        results = list(classifier.assess_many([lesion_jpg, odd, lesion_jpg]))
    assert [one.status for one in results] == ["assessed", "error", "assessed"]
    failure = results[1].error
    assert failure is not None
    assert failure.code == "internal"
    assert type(defect).__name__ in failure.message
    assert str(defect) in failure.message
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "with_a_defect" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("error", [BundleError("altered"), SettingError("closed")])
def test_what_no_photo_would_change_ends_the_run(
    shared_micro_bundle: Path, image: np.ndarray, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(photo: Photo) -> Quality:
        raise error

    monkeypatch.setattr(classifier_module, "assess_quality", fail)
    with Classifier(shared_micro_bundle, threads=1) as classifier, pytest.raises(type(error)):
        list(classifier.assess_many([image]))


@pytest.mark.hazard("H-13")
def test_limitations_follow_the_context(classifier: Classifier, lesion_jpg: Path) -> None:
    for context, codes in (
        (None, ["age_unknown", "site_unknown", "skin_tone", "amelanotic_melanoma"]),
        (PatientContext(30, "nail"), ["age_under_40", "site_nail", "skin_tone", "amelanotic_melanoma"]),
        (PatientContext(60, "head/neck"), ["skin_tone", "amelanotic_melanoma"]),
    ):
        result = classifier.assess(lesion_jpg, context=context)
        assert [limitation.code for limitation in result.limitations] == codes


# Sampling and explanations


def test_sampling_adds_uncertainty_and_does_not_decide(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    plain = classifier.assess(lesion_jpg)
    sampled = classifier.assess(lesion_jpg, mc_samples=30, seed=2)
    assert plain.uncertainty is None
    assert (sampled.cancer_probability, sampled.risk) == (plain.cancer_probability, plain.risk)
    assert sampled.uncertainty == classifier.assess(lesion_jpg, mc_samples=30, seed=2).uncertainty
    assert sampled.uncertainty != classifier.assess(lesion_jpg, mc_samples=30, seed=3).uncertainty
    assert sampled.uncertainty is not None
    low, high = sampled.uncertainty.cancer_interval
    assert 0 <= low < high <= 1
    assert (sampled.uncertainty.samples, sampled.uncertainty.seed) == (30, 2)


@pytest.mark.hazard("H-15", "H-19")
def test_threads_share_one_classifier(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: classifier.assess(lesion_jpg, mc_samples=20), range(8)))
    assert all(one.uncertainty == results[0].uncertainty for one in results)
    assert all(one.probabilities == results[0].probabilities for one in results)


@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize("target", ["cancer", "MEL"])
def test_every_method_and_target_explains(
    classifier: Classifier, lesion_jpg: Path, method: Method, target: str
) -> None:
    result = classifier.assess(lesion_jpg, explain=method, target=target)
    assert result.explanation is not None
    assert result.explanation.map.min() >= 0
    assert result.explanation.method == method
    assert result.explanation.target == (None if method == "eigen-cam" else target)
    assert result.explanation.model == result.model
    assert result.probabilities == classifier.assess(lesion_jpg).probabilities
    json.dumps(result.to_dict(), allow_nan=False)


def test_explained_results_have_pixels_and_descriptors(classifier: Classifier, image: np.ndarray) -> None:
    plain, explained = classifier.assess(image), classifier.assess(image, explain="grad-cam")
    assert (plain.explanation, plain.descriptors, plain.pixels) == (None, None, None)
    assert explained.descriptors is not None
    assert explained.pixels is not None
    assert explained.pixels.mask is not None
    assert explained.pixels.mask.shape == (128, 128)
    square = center_square(image)
    np.testing.assert_array_equal(explained.pixels.square, resize(square, min(len(square), 448)))
    assert set(explained.timing_ms) - set(plain.timing_ms) == {"lesion", "explanation"}


def test_a_refused_photo_is_shown_and_not_explained(shared_micro_bundle: Path) -> None:
    result = Classifier(shared_micro_bundle).assess(np.zeros((300, 300, 3), np.uint8), explain="grad-cam")
    assert result.status == "retake"
    assert (result.explanation, result.descriptors) == (None, None)
    assert result.pixels is not None
    assert result.pixels.mask is None


def test_a_photo_without_a_lesion_has_no_descriptors(classifier: Classifier) -> None:
    result = classifier.assess(np.full((300, 300, 3), (200, 160, 140), np.uint8), explain="grad-cam")
    assert result.status == "assessed"
    assert result.descriptors is None
    assert result.pixels is not None
    assert result.pixels.mask is not None
    assert not result.pixels.mask.any()


# Life of a classifier


def test_a_closed_classifier_refuses_work(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    with Classifier(shared_micro_bundle) as classifier:
        assert classifier.assess(lesion_jpg).status == "assessed"
    for use in (lambda: classifier.assess(lesion_jpg), lambda: classifier.assess_many([lesion_jpg])):
        with pytest.raises(SettingError) as caught:
            use()
        assert caught.value.code == "setting"
    classifier.close()  # twice does no harm
    with Classifier(shared_micro_bundle) as other:
        assert other.assess(lesion_jpg).status == "assessed"


def test_the_end_of_a_block_closes_after_an_error_too(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    with pytest.raises(ZeroDivisionError), classifier:
        _ = 1 / 0
    with pytest.raises(SettingError):
        classifier.assess(lesion_jpg)


def test_a_result_asked_for_after_the_end_is_refused(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    with Classifier(shared_micro_bundle) as classifier:
        results = classifier.assess_many([lesion_jpg] * 3)
        assert next(results).status == "assessed"
    with pytest.raises(SettingError):
        next(results)


def settings_of(result: Assessment) -> tuple[object, ...]:
    return (result.probabilities, result.risk, result.operating_points, result.model, result.ood)


@pytest.mark.hazard("H-19")
@pytest.mark.parametrize(
    "settings",
    [{}, {"precision": "fp32"}, {"sensitivity": 0.9, "quality_gate": False}, {"threads": 2, "workers": 2}],
    ids=["default", "fp32", "sensitivity", "workers"],
)
def test_a_pickled_copy_answers_the_same(
    shared_micro_bundle: Path, lesion_jpg: Path, settings: dict[str, object]
) -> None:
    classifier = Classifier(shared_micro_bundle, **settings)  # type: ignore[arg-type]
    copy = pickle.loads(pickle.dumps(classifier))
    assert copy.engine is not classifier.engine
    assert (copy.engine.threads, copy.engine.workers) == (
        classifier.engine.threads,
        classifier.engine.workers,
    )
    assert settings_of(copy.assess(lesion_jpg)) == settings_of(classifier.assess(lesion_jpg))
    dark = np.zeros((300, 300, 3), np.uint8)
    assert copy.assess(dark).status == classifier.assess(dark).status


@pytest.mark.parametrize("gate", ["quality_gate", "scope_gate"])
def test_a_pickled_copy_has_the_same_gates(micro_bundle: Path, image: np.ndarray, gate: str) -> None:
    if gate == "scope_gate":
        change_rules(micro_bundle, ood_threshold=-1e3)
        refused = image
    else:
        refused = np.zeros((300, 300, 3), np.uint8)
    for is_on, status in (
        (True, {"quality_gate": "retake", "scope_gate": "out_of_scope"}[gate]),
        (False, "assessed"),
    ):
        classifier = Classifier(micro_bundle, **{gate: is_on})
        assert classifier.assess(refused).status == status
        assert pickle.loads(pickle.dumps(classifier)).assess(refused).status == status


def test_a_pickled_copy_uses_the_cache(micro_bundle: Path, tmp_path: Path) -> None:
    pickled = [
        pickle.dumps(
            Classifier(micro_bundle, precision, cache_dir=tmp_path / "cache", cache_read_only=read_only)
        )
        for precision, read_only in (("fp32", False), ("int8", True))
    ]
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 1
    files[0].unlink()
    for one in pickled[::-1]:
        assert list((tmp_path / "cache").iterdir()) == []
        pickle.loads(one)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_copy_of_an_open_bundle(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(open_bundle(shared_micro_bundle))
    copy = pickle.loads(pickle.dumps(classifier))
    assert settings_of(copy.assess(lesion_jpg)) == settings_of(classifier.assess(lesion_jpg))


@pytest.mark.hazard("H-19")
def test_a_spawned_process_answers_the_same(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle, "fp32", threads=1)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        other = pool.submit(classifier.assess, lesion_jpg, explain="grad-cam").result(timeout=60)
    here = classifier.assess(lesion_jpg, explain="grad-cam")
    assert settings_of(other) == settings_of(here)
    assert other.explanation == here.explanation
    assert other.pixels == here.pixels


@pytest.mark.hazard("H-15")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_is_refused_and_the_parent_goes_on(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    code = f"""
import os, sys, warnings
from edgeskin import Classifier, SettingError
warnings.simplefilter("ignore")
classifier = Classifier({str(shared_micro_bundle)!r}, threads=1)
photo = {str(lesion_jpg)!r}
before = classifier.assess(photo).cancer_probability
child = os.fork()
if not child:
    refusals = []
    for use in (lambda: classifier.assess(photo), lambda: classifier.assess_many([photo])):
        try:
            use()
        except SettingError as error:
            refusals.append(error.code)
    os._exit(7 if refusals == ["setting"] * 2 else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(status, classifier.assess(photo).cancer_probability == before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["7", "True"]


@pytest.mark.parametrize("name", ["file", "file/inside"])
def test_a_cache_that_cannot_be_written_is_refused(
    shared_micro_bundle: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match=str(tmp_path / name)):
        Classifier(shared_micro_bundle, cache_dir=tmp_path / name)


def test_a_cache_gives_the_same_bits(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    plain, written, read = (
        Classifier(shared_micro_bundle, cache_dir=folder, cache_read_only=is_read_only).assess(lesion_jpg)
        for folder, is_read_only in ((None, False), (tmp_path, False), (tmp_path, True))
    )
    assert plain.probabilities == written.probabilities == read.probabilities
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_iterator_that_starts_after_the_end_is_refused(
    shared_micro_bundle: Path, lesion_jpg: Path, workers: int
) -> None:
    with Classifier(shared_micro_bundle, threads=2, workers=workers) as classifier:
        results = classifier.assess_many([lesion_jpg])
    with pytest.raises(SettingError):
        next(results)


def test_a_copy_made_in_another_folder_is_the_same_network(
    shared_micro_bundle: Path, lesion_jpg: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(shared_micro_bundle.parent)
    classifier = Classifier(shared_micro_bundle.name)
    content = pickle.dumps(classifier)
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(content).assess(lesion_jpg) == classifier.assess(lesion_jpg)


def test_answers_are_equal_however_long_they_took(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    one, other = classifier.assess(lesion_jpg), classifier.assess(lesion_jpg)
    assert one == other
    assert one != classifier.assess(lesion_jpg, name="another")


def test_a_signature_that_is_required_and_there(
    signed_bundle: Path, signing_keys: tuple[Path, Path], image: np.ndarray
) -> None:
    public = signing_keys[1]
    expected = Classifier(signed_bundle).assess(image)
    for key in (public, str(public), public.read_bytes()):
        with Classifier(signed_bundle, require_signature=key) as classifier:
            assert classifier.assess(image) == expected
    with Classifier(open_bundle(signed_bundle), require_signature=public) as classifier:
        assert classifier.assess(image) == expected


def test_a_signature_that_is_required_and_missing(
    shared_micro_bundle: Path, signing_keys: tuple[Path, Path]
) -> None:
    for bundle in (shared_micro_bundle, open_bundle(shared_micro_bundle), "default", None):
        with pytest.raises(BundleError) as caught:
            Classifier(bundle, require_signature=signing_keys[1])
        assert caught.value.code == "unsigned"


def test_there_is_no_cache_where_a_signature_is_required(
    signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    for read_only in (False, True):
        with pytest.raises(SettingError, match="cache"):
            Classifier(
                signed_bundle,
                cache_dir=tmp_path / "cache",
                cache_read_only=read_only,
                require_signature=signing_keys[1],
            )
    assert not (tmp_path / "cache").exists()


def test_a_pickled_copy_requires_the_signature_too(
    signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path, image: np.ndarray
) -> None:
    """The copy needs no key file: it keeps the key."""
    key = tmp_path / "copied.pub"
    key.write_bytes(signing_keys[1].read_bytes())
    classifier = Classifier(signed_bundle, require_signature=key)
    pickled = pickle.dumps(classifier)
    key.unlink()
    assert pickle.loads(pickled).assess(image) == classifier.assess(image)
    (signed_bundle / "signature.json").unlink()
    with pytest.raises(BundleError) as caught:
        pickle.loads(pickled)
    assert caught.value.code == "unsigned"


def test_without_cryptography_nothing_is_taken_for_signed(
    signed_bundle: Path, signing_keys: tuple[Path, Path]
) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None; import edgeskin\n"
        f"try: edgeskin.Classifier({str(signed_bundle)!r}, require_signature={str(signing_keys[1])!r})\n"
        "except edgeskin.SettingError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pip install cryptography" in done.stdout
