"""MC-dropout in numpy, against torch's own dropout and scipy's entropies."""

import concurrent.futures
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from edgeskin import Classifier, open_bundle
from edgeskin.bundle.manifest import DecisionRules, OperatingPoint
from edgeskin.decision.calibration import temperature_scaling
from edgeskin.decision.mc_dropout import summarize
from edgeskin.errors import SettingError
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.network.head import Head, read_head
from edgeskin.photo.decode import load_photo
from edgeskin.taxonomy import CANCER, ISIC_2019
from train.models.lesion_net import LesionNet


def rules_at(temperature: float) -> DecisionRules:
    point = OperatingPoint("screen", 0.1, 0.95, 1.0, 1.0)
    return DecisionRules(ISIC_2019, CANCER, temperature_scaling(temperature, 8), (point,))


@pytest.fixture(scope="module")
def features(net: LesionNet) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, net.backbone.num_features)).astype(np.float32)


def test_the_same_masks_give_torchs_logits(net: LesionNet, head: Head, features: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    first = (rng.random((5, features.shape[1])) >= 0.3).astype(np.float32) / np.float32(0.7)
    second = (rng.random((5, 64)) >= 0.2).astype(np.float32) / np.float32(0.8)
    _, linear1, silu, norm, _, linear2 = net.head
    with torch.no_grad():
        for masks, logits in zip(
            zip(first, second, strict=True), head.logits(features, first, second), strict=True
        ):
            mask1, mask2 = map(torch.from_numpy, masks)
            expected = linear2(norm(silu(linear1(torch.from_numpy(features) * mask1))) * mask2)
            np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_free_masks_agree_with_torchs_dropout(net: LesionNet, head: Head, features: np.ndarray) -> None:
    """2,000 samples of one view each: means within four standard errors, deviations within 8 %."""
    one = features[:1]
    ours = head.sample(one, 1000, seed=0), head.sample(one, 1000, seed=1)
    ours = np.concatenate(ours)
    for layer in (net.head[0], net.head[4]):
        layer.train()
    torch.manual_seed(0)
    with torch.no_grad():
        theirs = net.head(torch.from_numpy(one).expand(2000, -1)).numpy()
    net.head.eval()
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 2000)
    assert (abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.08)
    by_p = [softmax(logits, axis=1)[:, [0, 2, 3, 7]].sum(axis=1) for logits in (ours, theirs)]
    assert by_p[0].std() == pytest.approx(by_p[1].std(), rel=0.08)


def test_without_dropout_every_sample_is_the_network(
    net: LesionNet, head: Head, features: np.ndarray
) -> None:
    still = dataclasses.replace(head, dropout=(0.0, 0.0))
    with torch.no_grad():
        expected = net.head(torch.from_numpy(features)).mean(dim=0)
    for logits in still.sample(features, 3, 0):
        np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_far_features_stay_finite(head: Head, features: np.ndarray) -> None:
    assert np.isfinite(head.sample(features * 1e4, 4, 0)).all()


def test_the_parts_of_the_entropy_are_scipys() -> None:
    logits = np.random.default_rng(0).normal(scale=2, size=(200, 8)).astype(np.float32)
    result = summarize(logits, 4, rules_at(1.5))
    each = softmax(logits.astype(np.float64) / 1.5, axis=1)
    p_cancer = each[:, [0, 2, 3, 7]].sum(axis=1)
    assert result.entropy == pytest.approx(entropy(each.mean(axis=0)))
    assert result.aleatoric == pytest.approx(entropy(each, axis=1).mean())
    # The mutual information as the mean divergence of the samples from their mean.
    assert result.epistemic == pytest.approx(entropy(each, each.mean(axis=0), axis=1).mean())
    assert result.cancer_probability == pytest.approx(p_cancer.mean())
    assert result.cancer_std == pytest.approx(p_cancer.std())
    ordered = np.sort(p_cancer)
    assert ordered[4] <= result.cancer_interval[0] <= ordered[5]
    assert ordered[194] <= result.cancer_interval[1] <= ordered[195]
    assert (result.samples, result.seed) == (200, 4)
    assert list(result.probabilities.values()) == pytest.approx(each.mean(axis=0).tolist())


def test_certain_and_agreeing_networks_have_no_entropy() -> None:
    logits = np.tile(np.float32([1e4, 0, 0, 0, 0, 0, 0, 0]), (3, 1))
    result = summarize(logits, 0, rules_at(1.0))
    assert (result.entropy, result.aleatoric, result.epistemic, result.cancer_std) == (0, 0, 0, 0)


def test_two_networks_that_contradict_each_other() -> None:
    """Each is certain of another class: one bit, all of it disagreement."""
    logits = 1e4 * np.eye(8, dtype=np.float32)[:2]
    result = summarize(logits, 0, rules_at(1.0))
    assert (result.entropy, result.aleatoric, result.epistemic) == pytest.approx((np.log(2), 0, np.log(2)))
    assert (result.cancer_probability, result.cancer_std) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(("samples", "seed"), [(-1, 0), (1, 0), (1001, 0), (2.0, 0), (30, -1), (30, 0.5)])
def test_impossible_samples_and_seeds_are_refused(
    shared_micro_bundle: Path, lesion_jpg: Path, samples: int, seed: int
) -> None:
    with pytest.raises(SettingError, match="choose"):
        next(Classifier(shared_micro_bundle).assess_many([lesion_jpg], mc_samples=samples, seed=seed))


def test_threads_share_one_head(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda _: classifier.assess(lesion_jpg, mc_samples=20).uncertainty, range(8)))
    assert all(one == result[0] for one in result)


def test_an_assessment_carries_the_samples_and_decides_without_them(
    shared_micro_bundle: Path, lesion_jpg: Path
) -> None:
    classifier = Classifier(shared_micro_bundle)
    plain = classifier.assess(lesion_jpg)
    sampled = classifier.assess(lesion_jpg, mc_samples=30, seed=2)
    assert plain.uncertainty is None
    assert (sampled.cancer_probability, sampled.risk) == (plain.cancer_probability, plain.risk)
    assert sampled.uncertainty == classifier.assess(lesion_jpg, mc_samples=30, seed=2).uncertainty
    low, high = sampled.to_dict()["uncertainty"]["cancer_interval"]
    assert 0 <= low < high <= 1


def test_the_shipped_head_is_the_shipped_network(lesion_jpg: Path) -> None:
    """FP32 is stored as FP16, the head is not."""
    bundle = open_bundle()
    settings = bundle.manifest.preprocessing
    engine = Engine(bundle.ir("fp32"), views=settings.views)
    outputs = engine.infer(preprocess(load_photo(lesion_jpg, settings.size).image, settings))
    head = dataclasses.replace(read_head(bundle.read("head.npz")), dropout=(0.0, 0.0))
    np.testing.assert_allclose(head.sample(outputs.view_features[0], 1, 0)[0], outputs.logits[0], atol=0.01)
