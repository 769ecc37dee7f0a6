"""Class activation maps in numpy, against torch's autograd and pytorch-grad-cam."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeskin import Classifier, SettingError, open_bundle
from edgeskin.arrays import Float32s
from edgeskin.bundle.manifest import Calibration, DecisionRules, OperatingPoint
from edgeskin.explain.cam import eigen_cam, grad_cam, grad_cam_plus_plus, layer_cam
from edgeskin.explain.occlusion import occlusion
from edgeskin.explain.target import CANCER, Target, find_target
from edgeskin.imaging.dihedral import transform
from edgeskin.imaging.preprocess import preprocess
from edgeskin.imaging.segmentation import skin_color
from edgeskin.network.engine import Engine
from edgeskin.network.head import Head
from edgeskin.photo.decode import load_photo
from edgeskin.results import Explanation, ModelInfo
from edgeskin.taxonomy import CANCER as CANCER_CLASSES
from edgeskin.taxonomy import ISIC_2019
from tests.conftest import MICRO_SIZE
from train.config import ModelConfig
from train.models.from_bundle import load_bundle_weights
from train.models.lesion_net import LesionNet

pytestmark = pytest.mark.hazard("H-23")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their imports
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

MODEL = ModelInfo("micro", "0", "0" * 64, "fp32", "generic")
CALIBRATION = Calibration(
    "by hand", tuple(tuple(row) for row in (np.eye(8) * 0.7 + 0.02).tolist()), tuple(np.linspace(-1, 1, 8))
)


RULES = DecisionRules(
    ISIC_2019, CANCER_CLASSES, CALIBRATION, (OperatingPoint("screen", 0.1, 0.95, 1.0, 1.0),)
)


def target(name: str) -> Target:
    return find_target(name, RULES)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(1))


def features_and_fmaps(net: LesionNet, images: Tensor) -> tuple[Float32s, Float32s]:
    with torch.no_grad():
        _, features, fmaps = net.outputs(images)
    return features.numpy(), fmaps.numpy()


def log_odds(logits: Tensor) -> Tensor:
    """Of P(cancer) after CALIBRATION, in torch: (..., 8) -> (...)."""
    weights = torch.tensor(CALIBRATION.weights, dtype=torch.float64)
    bias = torch.tensor(CALIBRATION.bias, dtype=torch.float64)
    p = torch.softmax(logits.double().log_softmax(-1) @ weights.T + bias, dim=-1)
    return torch.logit(p[..., [ISIC_2019.index(name) for name in CANCER_CLASSES]].sum(-1))


@pytest.mark.parametrize("name", [CANCER, "MEL", "BKL"])
def test_grad_cam_is_autograds(net: LesionNet, head: Head, images: Tensor, name: str) -> None:
    """The target of a picture is that of its views' mean logits; the gradient at each pixel is asked for."""
    logits, features, fmaps = net.outputs(images)
    fmaps = fmaps.detach().requires_grad_()
    logits = net.head(net.backbone.forward_head(fmaps, pre_logits=True))
    mean = logits.mean(dim=0)
    score = log_odds(mean) if name == CANCER else mean[ISIC_2019.index(name)]
    (slopes,) = torch.autograd.grad(score, fmaps)
    expected = (slopes.mean(dim=(2, 3), keepdim=True) * fmaps).sum(dim=1).detach().numpy()

    mean_logits = mean.detach().numpy()
    gradient = head.gradient(features.detach().numpy(), target(name).gradient(mean_logits))
    # The score is of the mean of three views, so each has a third of the gradient.
    ours = grad_cam(fmaps.detach().numpy(), gradient) / 3
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert target(name).score(mean_logits) == pytest.approx(float(score.detach()), rel=1e-4)


def theirs(method: type, net: LesionNet, images: Tensor, position: int) -> Float32s:
    """By pytorch-grad-cam: relu, then 0 to 1 in each picture, (n, 160, 160)."""
    with method(model=net, target_layers=[net.backbone.bn2]) as cam:
        return np.asarray(cam(input_tensor=images, targets=[ClassifierOutputTarget(position)] * len(images)))


def scaled(cams: Float32s) -> Float32s:
    """As pytorch-grad-cam prepares a map to be looked at, with its own function."""
    return np.asarray(scale_cam_image(scale_cam_image(np.maximum(cams, 0), (160, 160))))


@pytest.mark.parametrize(
    ("ours", "method"),
    [
        (grad_cam, pytorch_grad_cam.GradCAM),
        (layer_cam, pytorch_grad_cam.LayerCAM),
        (eigen_cam, pytorch_grad_cam.EigenCAM),
    ],
)
def test_maps_are_pytorch_grad_cams(
    ours: Callable[[Float32s, Float32s], Float32s],
    method: type,
    net: LesionNet,
    head: Head,
    images: Tensor,
) -> None:
    features, fmaps = features_and_fmaps(net, images)
    position = ISIC_2019.index("SCC")
    expected = theirs(method, net, images, position)
    maps = ours(fmaps, head.gradient(features, np.eye(8)[position]))
    ours_scaled = scaled(maps)
    if ours is eigen_cam:  # whose sign is free, and theirs left to chance
        other = scaled(-maps)
        right = np.abs(ours_scaled - expected).max(axis=(1, 2)) < np.abs(other - expected).max(axis=(1, 2))
        ours_scaled = np.where(right[:, None, None], ours_scaled, other)
    np.testing.assert_allclose(ours_scaled, expected, atol=1e-3)


def test_grad_cam_plus_plus_is_pytorch_grad_cams(net: LesionNet, head: Head, images: Tensor) -> None:
    """Its weights from autograd's gradients at each pixel. It adds 1e-6 where the paper adds nothing;
    activations divided by what gradients are multiplied with give the same map, and make that small.
    """
    position, scale = ISIC_2019.index("MEL"), 1e4
    _, features, fmaps = (output.detach() for output in net.outputs(images))
    fmaps.requires_grad_()
    scores = net.head(net.backbone.forward_head(fmaps, pre_logits=True))[:, position]
    (slopes,) = torch.autograd.grad(scores.sum(), fmaps)
    activations = fmaps.detach().double().numpy() / scale
    weights = pytorch_grad_cam.GradCAMPlusPlus.get_cam_weights(
        None, None, None, None, activations, slopes.double().numpy() * scale
    )
    expected = np.einsum("nf,nfhw->nhw", weights, activations)
    gradient = head.gradient(features.numpy(), np.eye(8)[position])
    ours = grad_cam_plus_plus(fmaps.detach().numpy(), gradient)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_eigen_cam_is_positive_where_it_is_farthest_from_0(net: LesionNet, images: Tensor) -> None:
    maps = eigen_cam(features_and_fmaps(net, images)[1], np.empty((3, 0), np.float32))
    assert (maps.max(axis=(1, 2)) >= -maps.min(axis=(1, 2))).all()


def test_the_default_bundles_map_is_autograds_on_its_own_network(lesion_jpg: Path) -> None:
    """From photo to map, through FP32 IR, eight views and calibration; torch has the IR's weights."""
    bundle = open_bundle()
    manifest = bundle.manifest
    prepared = preprocess(load_photo(lesion_jpg, 224).image, manifest.preprocessing)
    views = torch.from_numpy(np.stack([transform(prepared, view) for view in range(8)]))
    images = views.permute(0, 3, 1, 2)
    net = LesionNet(ModelConfig(), 8)
    load_bundle_weights(net, bundle, manifest.classes, images)
    net.eval()
    normalized = net.normalize(images)
    with torch.no_grad():
        fmaps = net.backbone.forward_features(normalized)
    fmaps.requires_grad_()
    logits = net.head(net.backbone.forward_head(fmaps, pre_logits=True)).mean(dim=0)
    calibration = manifest.decision_rules["fp32"].calibration
    weights, bias = (
        torch.tensor(part, dtype=torch.float32) for part in (calibration.weights, calibration.bias)
    )
    p = torch.softmax(logits.log_softmax(-1) @ weights.T + bias, dim=-1)
    (slopes,) = torch.autograd.grad(torch.logit(p[[0, 2, 3, 7]].sum()), fmaps)
    by_view = 8 * (slopes * fmaps).sum(dim=1).relu().detach().numpy()
    upright = [np.rot90(cam, -quarters) for quarters, cam in enumerate(by_view[:4])]
    upright += [np.rot90(cam, -quarters)[:, ::-1] for quarters, cam in enumerate(by_view[4:])]
    expected = np.mean(upright, axis=0)

    found = Classifier(precision="fp32").assess(lesion_jpg, explain="grad-cam")
    assert found.explanation is not None
    np.testing.assert_allclose(found.explanation.map, expected, atol=5e-3 * expected.max())


def test_the_gradient_of_the_log_odds_holds_far_out() -> None:
    for logits in (np.full(8, 80.0) * np.eye(8)[0], -90 * np.eye(8)[1]):
        assert np.isfinite(target(CANCER).gradient(logits)).all()
        assert np.isfinite(target(CANCER).score(logits))


def test_occlusion_finds_the_part_that_the_score_hangs_on(shared_micro_bundle: Path) -> None:
    """Against each hidden cell's fall computed one by one with the engine alone."""
    engine = Engine(open_bundle(shared_micro_bundle).ir("fp32"), views=8)
    image = np.random.default_rng(0).integers(90, 200, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)
    one = target("NV")
    edges = np.rint(np.linspace(0, MICRO_SIZE, 8)).astype(int)

    def score(picture: np.ndarray) -> float:
        return float(one.score(engine.infer_batch(picture[None]).logits[0]))

    def fall(row: int, column: int) -> float:
        hidden = image.copy()
        hidden[
            edges[max(row, 0)] : edges[min(row + 2, 7)], edges[max(column, 0)] : edges[min(column + 2, 7)]
        ] = skin_color(image)
        return score(image) - score(hidden)

    falls = occlusion(image, engine, one)
    for row, column in ((0, 0), (3, 4), (6, 6), (0, 6)):
        windows = [fall(row + down, column + across) for down in (-1, 0) for across in (-1, 0)]
        assert falls[row, column] == pytest.approx(max(0, np.mean(windows)), abs=1e-4)


def test_every_method_and_target_answers(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    classifier = Classifier(shared_micro_bundle)
    for method in ("grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "occlusion"):
        found = classifier.assess(lesion_jpg, explain=method, target="MEL")
        assert found.explanation is not None
        assert found.explanation.map.min() >= 0
        assert found.explanation.target == (None if method == "eigen-cam" else "MEL")
        assert found.probabilities == classifier.assess(lesion_jpg).probabilities
        json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize(("target", "method"), [("MELANOMA", "grad-cam"), ("cancer", "gradcam")])
def test_an_unknown_target_or_method_names_the_known(
    shared_micro_bundle: Path, lesion_jpg: Path, target: str, method: str
) -> None:
    with pytest.raises(
        SettingError, match=r"choose (cancer or one of MEL, NV|one of grad-cam, grad-cam\+\+)"
    ):
        Classifier(shared_micro_bundle).assess(lesion_jpg, explain=method, target=target)


def test_what_is_not_assessed_is_not_explained(shared_micro_bundle: Path) -> None:
    found = Classifier(shared_micro_bundle).assess(np.zeros((300, 300, 3), np.uint8), explain="grad-cam")
    assert found.status == "retake"
    assert found.explanation is None
    assert found.pixels is not None
    assert (found.pixels.mask, found.descriptors) == (None, None)


def test_cancer_needs_a_class_that_is_none() -> None:
    two = Calibration("by hand", ((1.0, 0.0), (0.0, 1.0)), (0.0, 0.0))
    with pytest.raises(SettingError):
        find_target(CANCER, DecisionRules(("MEL", "BCC"), ("MEL", "BCC"), two, RULES.operating_points))


def test_the_hottest_part_has_its_share_and_an_empty_map_none() -> None:
    values = np.arange(49, dtype=np.float32).reshape(7, 7)
    hot = Explanation("grad-cam", CANCER, values, MODEL).hottest(100, 0.2)
    assert hot.mean() == pytest.approx(0.2)
    assert hot[-15:].all()
    assert not hot[:70].any()
    few = np.zeros((7, 7), np.float32)
    few[3, 3] = 1
    assert 0.05 < Explanation("grad-cam", CANCER, few, MODEL).hottest(100, 0.2).mean() < 0.18
    none = Explanation("grad-cam", CANCER, np.zeros((7, 7), np.float32), MODEL)
    assert not none.hottest(100).any()
    assert not none.normalized(100).any()


def test_normalized_runs_from_0_to_1() -> None:
    values = np.random.default_rng(0).random((7, 7), np.float32)
    heat = Explanation("grad-cam", CANCER, values, MODEL).normalized(64)
    assert (heat.min(), heat.max()) == (0, 1)
    assert (heat == 0).mean() == pytest.approx(0.1, abs=0.01)
    assert (heat == 1).mean() == pytest.approx(0.01, abs=0.002)
