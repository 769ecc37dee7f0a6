"""Training augmentation: torchvision v2, and transforms for dermoscopy that it lacks."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from edgeskin.arrays import Image
from train.config import AugmentConfig
from train.input.artifacts import DRAWINGS

MARGIN = 1.25
"""Side of a prepared training image, relative to the side that it is cropped to."""
SMALLEST_SIDE = 64
"""Smallest side that `LowResolution` reduces an image to, in pixels."""


def augmentation(config: AugmentConfig, size: int) -> v2.Transform:
    """The random transform of a training image.

    Args:
        config: Which parts to use, and how strong they are.
        size: Side of the result in pixels.

    Returns:
        A transform from uint8 (3, MARGIN * size, MARGIN * size) to uint8 (3, size, size).
    """
    source = round(size * MARGIN)
    parts: list[v2.Transform] = []
    # These change the whole image before rotation and crop, in the order in which a camera adds them.
    if config.artifacts:
        parts.append(v2.RandomApply([Artifacts()], config.artifacts))
    if config.circular_mask:
        parts.append(v2.RandomApply([CircularMask()], config.circular_mask))
    if config.low_resolution:
        parts.append(v2.RandomApply([LowResolution()], config.low_resolution))
    if config.rotation:
        # Reflected margins, so that the network cannot learn the black corners of a rotated picture.
        margin = int(source * 0.21) + 1
        parts += [
            v2.Pad(margin, padding_mode="reflect"),
            v2.RandomRotation(config.rotation, InterpolationMode.BILINEAR),
            v2.CenterCrop(source),
        ]
    parts.append(v2.RandomResizedCrop(size, scale=config.crop_scale, ratio=(0.85, 1.18), antialias=True))
    if config.flips:
        parts += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if config.jitter:
        parts.append(v2.ColorJitter(config.jitter, config.jitter, config.jitter))
    if config.gamma or config.illuminant:
        parts.append(LightShift(config.gamma, config.illuminant))
    if config.clahe:
        parts.append(v2.RandomApply([Clahe()], config.clahe))
    if config.blur:
        parts.append(v2.RandomApply([v2.GaussianBlur(5, (0.3, 1.5))], config.blur))
    if config.noise:
        parts.append(v2.RandomApply([SensorNoise()], config.noise))
    if config.downscale:
        parts.append(v2.RandomApply([Downscale()], config.downscale))
    if config.jpeg:
        parts.append(v2.RandomApply([Jpeg()], config.jpeg))
    if config.coarse_dropout:
        parts += [v2.RandomErasing(config.coarse_dropout, (0.01, 0.05), value=127) for _ in range(3)]
    return v2.Compose(parts)


class LightShift(v2.Transform):
    """Changes the light: a gain for each channel in 1 -+ illuminant, and a gamma in exp(-+ gamma).

    The illuminants follow Galdran et al., "Data-driven color augmentation", 2017.

    Args:
        gamma: Largest absolute logarithm of the gamma.
        illuminant: Largest relative change of a channel.
    """

    def __init__(self, gamma: float, illuminant: float) -> None:
        """Store the strengths."""
        super().__init__()
        self.gamma, self.illuminant = gamma, illuminant

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a look-up table (3, 256)."""
        gain = 1 + self.illuminant * (2 * torch.rand(3, 1) - 1)
        gamma = torch.exp(self.gamma * (2 * torch.rand(1) - 1))
        levels = torch.linspace(0, 1, 256) ** gamma * 255
        return {"table": (gain * levels).round().clamp(0, 255).to(torch.uint8)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Look the pixels up, uint8 (3, h, w)."""
        return torch.gather(params["table"], 1, inpt.flatten(1).long()).reshape(inpt.shape)


class Clahe(v2.Transform):
    """Contrast-limited adaptive histogram equalization of the lightness (OpenCV, clip 2, 8x8 tiles)."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Equalize uint8 (3, h, w)."""
        lab = cv2.cvtColor(inpt.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
        return torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1)


class SensorNoise(v2.Transform):
    """Gaussian noise with a standard deviation of up to 8 grey levels."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the standard deviation."""
        return {"sigma": 8 * torch.rand(1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Add noise to uint8 (3, h, w)."""
        noise = torch.randn(inpt.shape) * params["sigma"]
        noisy: Tensor = inpt + noise
        return noisy.round().clamp(0, 255).to(torch.uint8)


class Jpeg(v2.Transform):
    """JPEG compression of quality 30 to 95, by OpenCV because torchvision's codec is deprecated."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the quality."""
        return {"quality": int(torch.randint(30, 96, (1,)))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Compress uint8 (3, h, w)."""
        stored = stored_as_jpeg(inpt.permute(1, 2, 0).numpy(), params["quality"])
        return torch.from_numpy(stored).permute(2, 0, 1)


class Downscale(v2.Transform):
    """Reduction to 0.5 to 1 of the side, and back."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the share of the side."""
        return {"share": 0.5 + 0.5 * float(torch.rand(1))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Reduce and enlarge uint8 (3, h, w)."""
        height, width = inpt.shape[-2:]
        small = [max(1, round(side * params["share"])) for side in (height, width)]
        resized: Tensor = v2.functional.resize(v2.functional.resize(inpt, small), [height, width])
        return resized


class LowResolution(v2.Transform):
    """Storage of the whole image at a low resolution: reduced by area averaging and enlarged again.

    The small side is log-uniform from SMALLEST_SIDE to the image's own. Half of the small images are
    compressed as JPEG of quality 40 to 95. Enlargement is cubic or linear with equal probability.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the small side in pixels, the JPEG quality (or None) and the interpolation."""
        largest = min(flat_inputs[0].shape[-2:])
        smallest = min(SMALLEST_SIDE, largest)
        share, stored, method = torch.rand(3).tolist()
        return {
            "side": round(smallest * (largest / smallest) ** share),
            "quality": int(torch.randint(40, 96, (1,))) if stored < 0.5 else None,
            "method": cv2.INTER_CUBIC if method < 0.5 else cv2.INTER_LINEAR,
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Reduce, compress and enlarge uint8 (3, h, w)."""
        height, width = inpt.shape[-2:]
        side, quality = params["side"], params["quality"]
        small = cv2.resize(inpt.permute(1, 2, 0).numpy(), (side, side), interpolation=cv2.INTER_AREA)
        if quality is not None:
            small = stored_as_jpeg(np.asarray(small, np.uint8), quality)
        large = cv2.resize(small, (width, height), interpolation=params["method"])
        return torch.from_numpy(large).permute(2, 0, 1)


class CircularMask(v2.Transform):
    """The dark border of a dermoscope: everything outside a circle is nearly black.

    The radius is 0.42 to 0.75 of the side; a large circle leaves only dark corners, or nothing. The centre is
    off the middle by up to 0.06 of the side in each direction. Half of the edges are sharp, half fade over up
    to 0.08 of the side.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the circle and its edge, in shares of the side, and the colour (3, 1, 1), 0 to 30."""
        radius, x, y, soft, edge, level = torch.rand(6).tolist()
        return {
            "radius": 0.42 + 0.33 * radius,
            "centre": (0.5 + 0.06 * (2 * x - 1), 0.5 + 0.06 * (2 * y - 1)),
            "edge": 0.08 * edge if soft < 0.5 else 0.0,
            "colour": (25 * level + 5 * torch.rand(3))[:, None, None],
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Darken uint8 (3, h, w) outside the circle."""
        height, width = inpt.shape[-2:]
        side, (x, y) = min(height, width), params["centre"]
        across, down = torch.arange(width) + 0.5 - x * width, torch.arange(height) + 0.5 - y * height
        beyond = torch.hypot(across, down[:, None]) - params["radius"] * side  # (h, w), pixels
        dark = (beyond / max(1.0, params["edge"] * side)).clamp(0, 1)
        return inpt.float().lerp(params["colour"], dark).round().to(torch.uint8)


class Artifacts(v2.Transform):
    """One or two different kinds of artifact: ruler marks, hairs, gel bubbles, pen marks."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the kinds of artifact and the seed of their drawings."""
        chosen = torch.randperm(len(DRAWINGS))[: int(torch.randint(1, 3, (1,)))].tolist()
        # numpy draws the many numbers of a drawing. Its seed is torch's, so that a resumed run repeats them.
        return {"drawings": [DRAWINGS[number] for number in chosen], "seed": int(torch.randint(2**31, (1,)))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Draw the artifacts on uint8 (3, h, w)."""
        image, rng = inpt.permute(1, 2, 0).numpy(), np.random.default_rng(params["seed"])
        for draw in params["drawings"]:
            image = draw(image, rng)
        return torch.from_numpy(image).permute(2, 0, 1)


def stored_as_jpeg(image: Image, quality: int) -> Image:
    """An image, uint8 RGB (h, w, 3), after JPEG compression of a quality from 0 to 100."""
    # OpenCV expects BGR; in another order it would compute luminance from the wrong channels.
    pixels = np.ascontiguousarray(image[..., ::-1])
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def mixup(images: Tensor, alpha: float) -> tuple[Tensor, float]:
    """Blend a batch with itself in reverse order (Zhang et al., "mixup", 2018).

    Args:
        images: (n, ...), any dtype.
        alpha: The share is drawn from Beta(alpha, alpha).

    Returns:
        The blended images as float (n, ...), and the share of the first images, 0 to 1.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return images.float().lerp(images.flip(0).float(), 1 - share), share
