"""Many pictures: one that fails gives an assessment of status ``error``, and the others go on."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgeskin.classifier.steps import StepClock
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.photo.decode import Source
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import Assessment, Failure, ModelInfo

_log = logging.getLogger("edgeskin.classifier")


def name_of(image: Source | PhotoRef) -> str:
    """What to call a picture: its name or path, else its type."""
    if isinstance(image, PhotoRef):
        return image.name
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"<{type(image).__name__}>"


def require_several(images: object, kinds: Any) -> None:
    """Raise SettingError for a single photo, and for what cannot be iterated over."""
    is_one = isinstance(images, str | bytes | bytearray | os.PathLike | np.ndarray)
    if is_one or not isinstance(images, kinds):
        raise SettingError(
            f"assess_many takes several images, not one {type(images).__name__}: give a list, or assess"
        )


def assess_or_fail(
    assess: Callable[..., Assessment],
    model: ModelInfo,
    context: PatientContext | None,
    image: Source | PhotoRef,
) -> Assessment:
    """Assess a photo; if that fails, return an assessment of status ``error``.

    Args:
        assess: `edgeskin.Classifier.assess` with its options, but for the name and the context.
        model: Of the assessment of a failure.
        context: Of all photos.
        image: The photo. One of a list brings its name, and may bring its own age and site.

    Raises:
        BundleError: The bundle is at fault, so that no photo would do better.
        SettingError: An option is, likewise.
    """
    clock = StepClock()
    try:
        if not isinstance(image, PhotoRef):
            return assess(image, context=context)
        if image.age is not None:
            context = replace(context or PatientContext(), age=image.age)
        if image.site is not None:
            context = replace(context or PatientContext(), site=image.site)
        return assess(image.source(), name=image.name, context=context)
    except (BundleError, SettingError):
        raise
    except EdgeskinError as error:
        failed = error
    except Exception as error:  # a defect of ours or of a library must not cost the photos after this one
        kind = type(error).__name__
        failed = EdgeskinError(f"{kind}: {error}; report it with the photo", "internal")
        # Without the error's own words, which may name the photo.
        where = EdgeskinError(kind, "internal").with_traceback(error.__traceback__)
        _log.error("a photo failed for an unforeseen reason (%s)", kind, exc_info=where)
    name, message = name_of(image), str(failed)
    if isinstance(image, PhotoRef):
        message = message.removeprefix("<bytes>: ")
    # Where the network failed, the error names no picture.
    message = message if message.startswith(name) else f"{name}: {message}"
    failure = Failure(type(failed).__name__, message, failed.code)
    return Assessment(image=name, status="error", model=model, timing_ms=clock.milliseconds(), error=failure)
