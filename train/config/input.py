"""Settings of what the network sees: augmentation and sampling."""

import math
from dataclasses import dataclass

from edgeskin.errors import SettingError
from train.config.ranges import require_range


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths and probabilities of the training augmentation; 0 turns a part off.

    Attributes:
        crop_scale: Smallest and largest share of the area that a random crop keeps.
        rotation: Largest rotation in degrees.
        flips: Whether to mirror at random.
        jitter: Relative change of brightness, contrast and saturation.
        gamma: Largest absolute logarithm of the gamma.
        illuminant: Largest relative change of each channel.
        clahe: Probability of adaptive histogram equalization.
        blur: Probability of Gaussian blur.
        noise: Probability of sensor noise.
        downscale: Probability of a reduction to fewer pixels and back.
        jpeg: Probability of JPEG compression.
        coarse_dropout: Probability of each of three grey patches.
        low_resolution: Probability that the whole image is stored at a low resolution. This and the next two
            apply to every class at the same rate, so that small images, dark borders and marks are no
            shortcuts to the class; see `train.input.augment`.
        circular_mask: Probability of a dermoscope's dark border.
        artifacts: Probability of ruler marks, hairs, gel bubbles or pen marks.
        mixup: Each batch is blended with itself, reversed; the shares are from Beta(mixup, mixup) (Zhang et
            al., "mixup", 2018).
    """

    crop_scale: tuple[float, float] = (0.7, 1.0)
    rotation: float = 180.0
    flips: bool = True
    jitter: float = 0.2
    gamma: float = 0.2
    illuminant: float = 0.08
    clahe: float = 0.1
    blur: float = 0.1
    noise: float = 0.1
    downscale: float = 0.0
    jpeg: float = 0.0
    coarse_dropout: float = 0.2
    low_resolution: float = 0.0
    circular_mask: float = 0.0
    artifacts: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest <= 1:
            raise SettingError(f"crop_scale {self.crop_scale}: choose two rising shares of the area, to 1")
        strengths = ("jitter", "gamma", "illuminant")
        probabilities = ("clahe", "blur", "noise", "downscale", "jpeg", "coarse_dropout")
        whole_image = ("low_resolution", "circular_mask", "artifacts")
        require_range(self, 0, 1, *strengths, *probabilities, *whole_image)
        require_range(self, 0, 180, "rotation")
        require_range(self, 0, 10, "mixup")


@dataclass(frozen=True)
class SamplerConfig:
    """What an epoch holds.

    Attributes:
        cancer_oversampling: How often each cancer image occurs in an epoch.
        epoch_cap: Largest number of images of a class in an epoch, drawn again each epoch; 0 keeps all.
            Class weights follow the capped counts.
    """

    cancer_oversampling: int = 1
    epoch_cap: int = 0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        require_range(self, 1, 100, "cancer_oversampling")
        require_range(self, 0, math.inf, "epoch_cap")
