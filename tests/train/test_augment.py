"""Augmentation: form, determinism, every part by itself, and what can be worked out by hand."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from train.config import AugmentConfig
from train.input.artifacts import DRAWINGS
from train.input.augment import (
    MARGIN,
    Artifacts,
    CircularMask,
    Clahe,
    Downscale,
    Jpeg,
    LightShift,
    LowResolution,
    SensorNoise,
    augmentation,
    mixup,
)

SIZE = 64
SOURCE = round(SIZE * MARGIN)
OFF = AugmentConfig(
    crop_scale=(1.0, 1.0), rotation=0.0, flips=False, jitter=0.0, gamma=0.0, illuminant=0.0,
    clahe=0.0, blur=0.0, noise=0.0, downscale=0.0, jpeg=0.0, coarse_dropout=0.0,
    low_resolution=0.0, circular_mask=0.0, artifacts=0.0,
)  # fmt: skip
WHOLE_IMAGE = ("low_resolution", "circular_mask", "artifacts")
ALWAYS = dict.fromkeys(("clahe", "blur", "noise", "downscale", "jpeg", "coarse_dropout", *WHOLE_IMAGE), 1.0)
# mixup is of batches, not of pictures.
PARTS = [field.name for field in fields(AugmentConfig) if field.name != "mixup"]


@pytest.fixture
def picture() -> Tensor:
    """A smooth coloured ramp with texture, uint8 (3, SOURCE, SOURCE)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SOURCE, :SOURCE] / SOURCE
    channels = np.stack([60 + 150 * x, 40 + 120 * y, 200 - 90 * x]) + rng.normal(0, 6, (3, SOURCE, SOURCE))
    return torch.from_numpy(channels.clip(0, 255).astype(np.uint8))


def constant(level: int) -> Tensor:
    return torch.full((3, SOURCE, SOURCE), level, dtype=torch.uint8)


@pytest.mark.parametrize(
    "config",
    [AugmentConfig(), OFF, AugmentConfig(**ALWAYS)]
    + [replace(OFF, **{name: ALWAYS.get(name, getattr(AugmentConfig(), name))}) for name in PARTS]
    + [replace(AugmentConfig(**ALWAYS), **{name: getattr(OFF, name)}) for name in PARTS],
    ids=["published", "off", "always", *(f"only {n}" for n in PARTS), *(f"all but {n}" for n in PARTS)],
)
def test_form_and_determinism(config: AugmentConfig, picture: Tensor) -> None:
    transform = augmentation(config, SIZE)
    before = picture.clone()
    torch.manual_seed(5)
    first = transform(picture)
    torch.manual_seed(5)
    again = transform(picture)
    assert first.shape == (3, SIZE, SIZE)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert torch.equal(picture, before)  # the cached original is not painted over


def test_two_draws_differ(picture: Tensor) -> None:
    transform = augmentation(AugmentConfig(), SIZE)
    assert not torch.equal(transform(picture), transform(picture))


def test_all_off_leaves_colours_alone() -> None:
    assert torch.equal(
        augmentation(OFF, SIZE)(constant(93)), torch.full((3, SIZE, SIZE), 93, dtype=torch.uint8)
    )


def test_rotation_leaves_no_black_corners() -> None:
    torch.manual_seed(0)
    transform = augmentation(replace(OFF, rotation=180.0), SIZE)
    assert min(int(transform(constant(200)).min()) for _ in range(20)) >= 199


def test_coarse_dropout_paints_grey_patches_of_a_twentieth_at_most() -> None:
    torch.manual_seed(0)
    painted = augmentation(replace(OFF, coarse_dropout=1.0), SIZE)(constant(10)) == 127
    assert torch.equal(painted[0], painted[1])
    assert 0.01 < painted.float().mean() < 3 * 0.05


def test_another_light_of_nothing_changes_nothing(picture: Tensor) -> None:
    assert torch.equal(LightShift(0, 0)(picture), picture)


def test_illuminant_is_one_gain_a_channel() -> None:
    """Gains in 0.92 to 1.08: 0 stays 0, 100 becomes round(100 g), 200 round(200 g)."""
    torch.manual_seed(0)
    levels = torch.tensor([0, 100, 200], dtype=torch.uint8).repeat(3, 2, 1)
    gains = []
    for _ in range(200):
        shifted = LightShift(0, 0.08)(levels).float()
        assert (shifted[:, :, 0] == 0).all()
        assert ((shifted[:, 0, 2] - 2 * shifted[:, 0, 1]).abs() <= 1.5).all()  # two roundings
        gains.append(shifted[:, 0, 2] / 200)
    found = torch.stack(gains)
    assert 0.9175 <= found.min() < 0.93
    assert 1.07 < found.max() <= 1.0825
    assert (found.std(dim=1) > 0).any()  # channels differ: a tint, not a brightness


def test_gamma_keeps_black_and_white_and_order() -> None:
    """exp(-+0.2): mid grey 128 becomes 255 (128/255)^g, so 110 to 145; the channels move together."""
    torch.manual_seed(0)
    ramp = torch.arange(256, dtype=torch.uint8).repeat(3, 1, 1)
    middle = []
    for _ in range(200):
        shifted = LightShift(0.2, 0)(ramp)
        assert torch.equal(shifted[:, 0, [0, 255]], ramp[:, 0, [0, 255]])
        assert (shifted[0, 0].int().diff() >= 0).all()
        assert torch.equal(shifted[0], shifted[2])
        middle.append(int(shifted[0, 0, 128]))
    assert 109 <= min(middle) < 115
    assert 140 < max(middle) <= 146


def test_clahe_raises_contrast_and_adds_no_colour() -> None:
    rng = np.random.default_rng(0)
    flat = torch.from_numpy(rng.integers(110, 131, (1, SOURCE, SOURCE)).astype(np.uint8)).repeat(3, 1, 1)
    result = Clahe()(flat)
    assert result.dtype == torch.uint8
    assert result.float().std() > 1.5 * flat.float().std()
    assert (result[0].int() - result[1].int()).abs().max() <= 2
    # Only the lightness is equalized: hue and chroma of a coloured picture stay.
    lab = cv2.cvtColor(np.full((SOURCE, SOURCE, 3), (180, 120, 100), np.uint8), cv2.COLOR_RGB2LAB)
    coloured = torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1)
    after = cv2.cvtColor(Clahe()(coloured).permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2LAB)
    assert np.abs(after[..., 1:].astype(int) - lab[..., 1:]).max() <= 3


def test_noise_is_centred_and_at_most_eight_levels_deep() -> None:
    torch.manual_seed(0)
    deviations = []
    for _ in range(100):
        noisy = SensorNoise()(constant(128)).float()
        deviations.append(noisy.std().item())
        assert abs(noisy.mean().item() - 128) < 0.3
    assert max(deviations) < 8.3
    assert min(deviations) < 1
    assert np.mean(deviations) == pytest.approx(4, abs=0.7)


def test_noise_does_not_wrap_around() -> None:
    torch.manual_seed(0)
    assert SensorNoise()(constant(255)).min() > 200
    assert SensorNoise()(constant(0)).max() < 55


def test_downscale_keeps_the_size_and_loses_detail() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.integers(0, 256, (3, SOURCE, SOURCE), dtype=np.uint8))
    smaller = Downscale()
    assert smaller.transform(noise, {"share": 0.5}).shape == noise.shape
    half, same = (smaller.transform(noise, {"share": share}).float() for share in (0.5, 1.0))
    assert half.std() < 0.6 * same.std()
    assert torch.equal(same, noise.float())
    assert torch.equal(smaller.transform(constant(90), {"share": 0.7}), constant(90))


def test_mixup_blends_a_batch_with_its_reverse() -> None:
    torch.manual_seed(3)
    images = torch.tensor([[0, 100], [200, 40]], dtype=torch.uint8)
    blended, share = mixup(images, 0.4)
    assert 0 <= share <= 1
    expected = [[200 * (1 - share), 100 * share + 40 * (1 - share)]]
    expected += [[200 * share, 40 * share + 100 * (1 - share)]]
    torch.testing.assert_close(blended, torch.tensor(expected), rtol=1e-5, atol=1e-4)
    # Beta(1, 1) is uniform: its mean share is 1/2 and its variance 1/12.
    shares = torch.tensor([mixup(images, 1.0)[1] for _ in range(4000)])
    assert shares.mean() == pytest.approx(1 / 2, abs=0.02)
    assert shares.var() == pytest.approx(1 / 12, abs=0.005)


def test_jpeg_is_that_of_an_rgb_picture(picture: Tensor) -> None:
    stored = {quality: Jpeg().transform(picture, {"quality": quality}).float() for quality in (30, 95)}
    difference = {quality: (image - picture).abs().mean() for quality, image in stored.items()}
    assert 0 < difference[95] < difference[30] < 6
    # Red and blue are not exchanged on the way.
    red = torch.zeros(3, 32, 32, dtype=torch.uint8)
    red[0] = 200
    assert (Jpeg().transform(red, {"quality": 95}).float() - red).abs().max() <= 3


def test_augmentation_of_the_whole_image_is_off_by_default() -> None:
    assert [getattr(AugmentConfig(), name) for name in WHOLE_IMAGE] == [0, 0, 0]


@pytest.mark.parametrize("method", [cv2.INTER_CUBIC, cv2.INTER_LINEAR])
@pytest.mark.parametrize("quality", [None, 95])
def test_low_resolution_leaves_nothing_finer_than_the_small_image(method: int, quality: int | None) -> None:
    """Noise of 240 px through 64 keeps up to 32 cycles a side; above, interpolation adds little."""
    grey = np.random.default_rng(0).integers(0, 256, (1, 240, 240), dtype=np.uint8)
    noise = torch.from_numpy(grey).repeat(3, 1, 1)  # JPEG keeps less of colours
    stored = LowResolution().transform(noise, {"side": 64, "quality": quality, "method": method})
    assert stored.shape == noise.shape
    cycles = np.abs(np.fft.fftfreq(240, 1 / 240))
    finest = np.maximum(cycles[:, None], cycles)

    def power(image: Tensor, low: int, high: int) -> float:
        spectrum = np.abs(np.fft.fft2(image[0].numpy() - image[0].float().mean().item())) ** 2
        return float(spectrum[(low <= finest) & (finest < high)].mean())

    assert power(stored, 1, 16) > 0.7 * power(noise, 1, 16)
    assert power(stored, 48, 121) < 0.01 * power(noise, 48, 121)


def test_low_resolution_draws_log_uniform_sides() -> None:
    """Of 64 to 240 px: half of the sides are below sqrt(64 * 240) = 124, a fifth are at most 84."""
    torch.manual_seed(0)
    drawn = [LowResolution().make_params([torch.empty(3, 240, 240)]) for _ in range(2000)]
    sides = np.array([params["side"] for params in drawn])
    assert (sides.min(), sides.max()) == (64, 240)
    assert (sides < 124).mean() == pytest.approx(0.5, abs=0.04)
    assert (sides <= 84).mean() == pytest.approx(0.206, abs=0.03)
    qualities = [params["quality"] for params in drawn if params["quality"] is not None]
    assert len(qualities) / len(drawn) == pytest.approx(0.5, abs=0.04)
    assert (min(qualities), max(qualities)) == (40, 95)
    # An image that is smaller already keeps its side.
    assert LowResolution().make_params([torch.empty(3, 40, 40)])["side"] == 40


def test_low_resolution_without_jpeg_keeps_colours_and_a_full_side() -> None:
    params = {"side": SOURCE, "quality": None, "method": cv2.INTER_CUBIC}
    noise = torch.randint(0, 256, (3, SOURCE, SOURCE), dtype=torch.uint8)
    assert torch.equal(LowResolution().transform(noise, params), noise)
    assert torch.equal(LowResolution().transform(constant(90), params | {"side": 64}), constant(90))


@pytest.mark.parametrize("edge", [0.0, 0.08])
def test_the_mask_darkens_only_outside_its_circle(edge: float) -> None:
    params = {"radius": 0.45, "centre": (0.5, 0.54), "edge": edge, "colour": torch.full((3, 1, 1), 12.0)}
    masked = CircularMask().transform(constant(200), params)
    place = (torch.arange(SOURCE) + 0.5) / SOURCE
    distance = torch.hypot(place - 0.5, place[:, None] - 0.54)  # the first axis points down
    assert (masked[:, distance <= 0.45] == 200).all()
    assert (masked[:, distance >= 0.45 + max(edge, 1 / SOURCE) + 1e-6] == 12).all()
    outside = masked[0][distance > 0.45][distance[distance > 0.45].argsort()].int()
    assert (outside.diff() <= 0).all()


def test_masks_are_nearly_black_and_most_leave_dark_corners() -> None:
    torch.manual_seed(0)
    masked = torch.stack([CircularMask()(constant(200)) for _ in range(300)])
    assert (masked[:, :, SOURCE // 2, SOURCE // 2] == 200).all()
    dark = (masked.amax(dim=1) <= 30).float().mean(dim=(1, 2))
    assert 0.37 < dark.max() <= 1 - np.pi * 0.42**2  # the area outside the smallest circle
    assert 0.5 < (dark > 0).float().mean() < 1


def test_one_or_two_different_artifacts() -> None:
    torch.manual_seed(0)
    drawn = [Artifacts().make_params([])["drawings"] for _ in range(400)]
    assert {len(drawings) for drawings in drawn} == {1, 2}
    assert all(len(set(drawings)) == len(drawings) for drawings in drawn)
    assert {draw for drawings in drawn for draw in drawings} == set(DRAWINGS)
