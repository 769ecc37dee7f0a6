"""The parts of a bundle beside each other: each must be of the network that runs."""

from edgeskin.bundle.bundle import Bundle
from edgeskin.bundle.manifest import HEAD, OOD
from edgeskin.decision.ood import OodStatistics, read_statistics
from edgeskin.errors import BundleError
from edgeskin.network.engine import Engine
from edgeskin.network.head import Head, read_head
from edgeskin.results import Precision


def require_form(engine: Engine, bundle: Bundle, precision: Precision) -> None:
    """Raise BundleError unless a network takes the images and knows the classes of its bundle's manifest."""
    size = bundle.manifest.preprocessing.size
    found = (engine.image_shape, engine.n_classes)
    expected = ((size, size, 3), len(bundle.manifest.classes))
    if found != expected:
        raise BundleError(
            f"{bundle.folder / (precision + '.xml')}: image and classes are {found}, the manifest has "
            f"{expected}; pack the bundle anew"
        )


def open_head(bundle: Bundle, engine: Engine) -> Head:
    """The float32 head of a network. Raises BundleError if it cannot be read or is of another network."""
    head = read_head(bundle.read(HEAD))
    found = (head.weight1.shape[1], len(head.bias2))
    expected = (engine.n_features, engine.n_classes)
    if found != expected:
        raise BundleError(
            f"{bundle.folder / HEAD}: features and classes are {found}, the network's {expected}; "
            "pack the bundle anew"
        )
    return head


def open_statistics(bundle: Bundle, engine: Engine) -> OodStatistics | None:
    """The OOD statistics of a network; None if the bundle has none. Raises BundleError as `open_head`."""
    if not bundle.manifest.ood:
        return None
    statistics = read_statistics(bundle.read(OOD))
    if len(statistics.feature_mean) != engine.n_features:
        raise BundleError(f"{bundle.folder / OOD}: of another network; pack the bundle anew")
    return statistics
