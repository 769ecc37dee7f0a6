"""Training augmentation: torchvision v2, and what it lacks for skin."""

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from edgeskin.preprocess import Image
from train.artifacts import DRAWINGS
from train.config import AugmentConfig

MARGIN = 1.25
"""Training pictures are prepared this much larger than they are cropped to."""
SMALLEST_SIDE = 64
"""Pixels of the smallest picture that `LowResolution` goes through."""


def augmentation(config: AugmentConfig, size: int) -> v2.Transform:
    """uint8 (3, MARGIN * size, MARGIN * size) -> uint8 (3, size, size), at random."""
    source = round(size * MARGIN)
    parts: list[v2.Transform] = []
    # Of the whole picture, before it is turned and cropped, in the order in which a camera meets them.
    if config.artifacts:
        parts.append(v2.RandomApply([Artifacts()], config.artifacts))
    if config.circular_mask:
        parts.append(v2.RandomApply([CircularMask()], config.circular_mask))
    if config.low_resolution:
        parts.append(v2.RandomApply([LowResolution()], config.low_resolution))
    if config.rotation:
        # Reflected margins, so that a turned picture has no black corners for the network to learn.
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
    """Another light: a gain for each channel in 1 -+ illuminant, and a gamma in exp(-+ gamma).

    Re-cast illuminants after Galdran et al., "Data-driven color augmentation", 2017.
    """

    def __init__(self, gamma: float, illuminant: float) -> None:
        super().__init__()
        self.gamma, self.illuminant = gamma, illuminant

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        gain = 1 + self.illuminant * (2 * torch.rand(3, 1) - 1)
        gamma = torch.exp(self.gamma * (2 * torch.rand(1) - 1))
        levels = torch.linspace(0, 1, 256) ** gamma * 255
        return {"table": (gain * levels).round().clamp(0, 255).to(torch.uint8)}  # (3, 256)

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        table: Tensor = params["table"]
        return torch.stack([table[c][inpt[c].int()] for c in range(3)])


class Clahe(v2.Transform):
    """Contrast-limited adaptive histogram equalisation of the lightness (OpenCV, clip 2, 8x8 tiles)."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        lab = cv2.cvtColor(inpt.permute(1, 2, 0).contiguous().numpy(), cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(lab[..., 0]))
        return torch.from_numpy(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)).permute(2, 0, 1)


class SensorNoise(v2.Transform):
    """Gaussian noise of up to 8 grey levels deviation, on uint8."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"sigma": 8 * torch.rand(1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        noise = torch.randn(inpt.shape) * params["sigma"]
        return (inpt + noise).round().clamp(0, 255).to(torch.uint8)


class Jpeg(v2.Transform):
    """Stored as JPEG of quality 30 to 95 (OpenCV: torchvision's own codec is deprecated)."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"quality": int(torch.randint(30, 96, (1,)))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        stored = stored_as_jpeg(inpt.permute(1, 2, 0).numpy(), params["quality"])
        return torch.from_numpy(stored).permute(2, 0, 1)


class Downscale(v2.Transform):
    """A photo of fewer pixels: reduced to 0.5-1 of its side, and back."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"share": 0.5 + 0.5 * float(torch.rand(1))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        height, width = inpt.shape[-2:]
        small = [max(1, round(side * params["share"])) for side in (height, width)]
        return v2.functional.resize(v2.functional.resize(inpt, small), [height, width])


class LowResolution(v2.Transform):
    """A whole picture that was stored small: reduced by area to a side of SMALLEST_SIDE or more, and back.

    The small side is drawn evenly on a logarithmic scale up to the picture's own. Every other time the small
    picture is stored as JPEG of quality 40 to 95. It is enlarged by cubic or linear interpolation.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        largest = min(flat_inputs[0].shape[-2:])
        smallest = min(SMALLEST_SIDE, largest)
        share, stored, method = torch.rand(3).tolist()
        return {
            "side": round(smallest * (largest / smallest) ** share),
            "quality": int(torch.randint(40, 96, (1,))) if stored < 0.5 else None,
            "method": cv2.INTER_CUBIC if method < 0.5 else cv2.INTER_LINEAR,
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        height, width = inpt.shape[-2:]
        side, quality = params["side"], params["quality"]
        small = cv2.resize(inpt.permute(1, 2, 0).numpy(), (side, side), interpolation=cv2.INTER_AREA)
        if quality is not None:
            small = stored_as_jpeg(np.asarray(small, np.uint8), quality)
        large = cv2.resize(small, (width, height), interpolation=params["method"])
        return torch.from_numpy(large).permute(2, 0, 1)


class CircularMask(v2.Transform):
    """The dark border of a dermoscope: all outside a circle is near black.

    The radius is 0.42 to 0.75 of the side (a larger circle leaves only dark corners, or nothing), the centre
    up to 0.06 of it from the middle. The edge is sharp or goes over up to 0.08 of the side, equally often.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        radius, x, y, soft, edge, level = torch.rand(6).tolist()
        return {
            "radius": 0.42 + 0.33 * radius,
            "centre": (0.5 + 0.06 * (2 * x - 1), 0.5 + 0.06 * (2 * y - 1)),
            "edge": 0.08 * edge if soft < 0.5 else 0.0,
            "colour": (25 * level + 5 * torch.rand(3))[:, None, None],  # (3, 1, 1)
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        height, width = inpt.shape[-2:]
        side, (x, y) = min(height, width), params["centre"]
        across, down = torch.arange(width) + 0.5 - x * width, torch.arange(height) + 0.5 - y * height
        beyond = torch.hypot(across, down[:, None]) - params["radius"] * side  # (height, width), pixels
        dark = (beyond / max(1.0, params["edge"] * side)).clamp(0, 1)
        return inpt.float().lerp(params["colour"], dark).round().to(torch.uint8)


class Artifacts(v2.Transform):
    """One or two different ones of train.artifacts: ruler marks, hairs, gel bubbles, pen marks."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        chosen = torch.randperm(len(DRAWINGS))[: int(torch.randint(1, 3, (1,)))].tolist()
        # numpy draws the many numbers of a drawing; its seed is torch's, so that a resumed run repeats them.
        return {"drawings": [DRAWINGS[number] for number in chosen], "seed": int(torch.randint(2**31, (1,)))}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        image, rng = inpt.permute(1, 2, 0).numpy(), np.random.default_rng(params["seed"])
        for draw in params["drawings"]:
            image = draw(image, rng)
        return torch.from_numpy(image).permute(2, 0, 1)


def stored_as_jpeg(image: Image, quality: int) -> Image:
    """An image, uint8 RGB (h, w, 3), as a JPEG of this quality (0 to 100) gives it back."""
    # The codec takes the channels as they come: they have to be in its order for its luminance.
    pixels = np.ascontiguousarray(image[..., ::-1])
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def mixed(images: Tensor, alpha: float) -> tuple[Tensor, float]:
    """mixup: images (n, ...) blended with those of the reversed batch, and the first ones' share, from
    Beta(alpha, alpha). Images become float.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    return images.float().lerp(images.flip(0).float(), 1 - share), share
