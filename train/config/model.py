"""Settings of the network."""

from dataclasses import dataclass

from train.config.ranges import require_range


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Attributes:
        backbone: Any convolutional timm model.
        hidden: Width of the head's hidden layer.
        dropout: Rates before each of the head's two linear layers.
        drop_path: Stochastic depth (Huang et al., "Deep networks with stochastic depth", 2016): the rate at
            which training skips the last residual block. Earlier blocks have lower rates. 0 turns it off.
    """

    backbone: str = "efficientnet_b3"
    hidden: int = 512
    dropout: tuple[float, float] = (0.3, 0.2)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges; raise SettingError."""
        require_range(self, 0, 0.9, "drop_path")
