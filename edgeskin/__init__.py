"""Skin-lesion assessment on a CPU, offline. Research software, not a medical device.

The public names load their modules on first use, so that ``import edgeskin`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeskin.bundle.bundle import open_bundle as open_bundle
    from edgeskin.classifier import Classifier as Classifier
    from edgeskin.decision.limitations import PatientContext as PatientContext
    from edgeskin.errors import BundleError as BundleError
    from edgeskin.errors import EdgeskinError as EdgeskinError
    from edgeskin.errors import PhotoError as PhotoError
    from edgeskin.errors import RegistrationError as RegistrationError
    from edgeskin.errors import RequestError as RequestError
    from edgeskin.errors import ResourceError as ResourceError
    from edgeskin.errors import SettingError as SettingError
    from edgeskin.imaging.change import Comparison as Comparison
    from edgeskin.imaging.change import compare_photos as compare_photos
    from edgeskin.photo.listing import list_photos as list_photos
    from edgeskin.report.html import render_html as render_html
    from edgeskin.report.text import render_text as render_text
    from edgeskin.results import Assessment as Assessment

__version__ = "0.15.0"
NOTICE = (
    "Research software, not a medical device. For dermoscopy pictures only, not for phone photos: it cannot "
    "rule out cancer and replaces no examination."
)

_MODULES = {
    "Assessment": "results",
    "BundleError": "errors",
    "Classifier": "classifier",
    "Comparison": "imaging.change",
    "EdgeskinError": "errors",
    "PatientContext": "decision.limitations",
    "PhotoError": "errors",
    "RegistrationError": "errors",
    "RequestError": "errors",
    "ResourceError": "errors",
    "SettingError": "errors",
    "compare_photos": "imaging.change",
    "list_photos": "photo.listing",
    "open_bundle": "bundle.bundle",
    "render_html": "report.html",
    "render_text": "report.text",
}
__all__ = [*_MODULES, "NOTICE", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'edgeskin' has no attribute {name!r}")
    return getattr(import_module(f"edgeskin.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
