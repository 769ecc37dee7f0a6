"""Skin-lesion assessment on a CPU, offline. Research software, not a medical device.

The public names load what they need when they are first used, so that ``import edgeskin`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeskin.bundle.bundle import open_bundle as open_bundle
    from edgeskin.classifier import Classifier as Classifier
    from edgeskin.errors import BundleError as BundleError
    from edgeskin.errors import EdgeskinError as EdgeskinError
    from edgeskin.errors import PhotoError as PhotoError
    from edgeskin.errors import SettingError as SettingError
    from edgeskin.results import Assessment as Assessment

__version__ = "0.11.0"
NOTICE = (
    "Research software, not a medical device. For dermoscopy pictures only, not for phone photos: it cannot "
    "rule out cancer and replaces no examination."
)

_HOMES = {
    "Assessment": "results",
    "BundleError": "errors",
    "Classifier": "classifier",
    "EdgeskinError": "errors",
    "PhotoError": "errors",
    "SettingError": "errors",
    "open_bundle": "bundle.bundle",
}
__all__ = [*_HOMES, "NOTICE", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeskin' has no attribute {name!r}")
    return getattr(import_module(f"edgeskin.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
