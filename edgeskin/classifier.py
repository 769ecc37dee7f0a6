"""The object users hold: a bundle, opened and compiled once, that assesses photos."""

import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Self, get_args

import numpy as np

from edgeskin.arrays import Float32s, Image
from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.bundle.manifest import HEAD, OOD
from edgeskin.bundle.signature import Key, read_public_key
from edgeskin.decision.decide import OUT_OF_SCOPE, RETAKE, decide, with_decision
from edgeskin.decision.limitations import PatientContext, known_limitations
from edgeskin.decision.mc_dropout import require_samples, summarize
from edgeskin.decision.ood import read_statistics
from edgeskin.decision.operating_points import rules_for_sensitivity
from edgeskin.errors import BundleError, EdgeskinError, SettingError, naming_lacks, require_kind
from edgeskin.explain.cam import explain as evidence_map
from edgeskin.explain.cam import find_method
from edgeskin.explain.target import CANCER, Target, find_target
from edgeskin.imaging.descriptors import describe
from edgeskin.imaging.preprocess import center_square, preprocess, resize
from edgeskin.imaging.quality import assess_quality
from edgeskin.imaging.segmentation import segment
from edgeskin.network.cpu import instruction_set
from edgeskin.network.engine import Engine, NetworkOutputs
from edgeskin.network.head import Head, read_head
from edgeskin.photo.decode import Photo, Source, load_photo
from edgeskin.photo.in_order import in_order, in_order_async
from edgeskin.photo.isolation import IsolatedDecoder
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import (
    SHOWN_SIDE,
    ActionCode,
    Assessment,
    Explanation,
    Failure,
    Method,
    ModelInfo,
    Ood,
    Pixels,
    Precision,
    Quality,
    Status,
)

_log = logging.getLogger(__name__)


class Classifier:
    """Assesses photos of skin lesions.

    Threads may share one. It does not survive a fork; a pickled copy opens its own network. Use it as a
    context manager, or call `close`, to give its memory back early.

    Attributes:
        bundle: The open bundle.
        manifest: Its manifest.
        model: What assessments say of the network.
        rules: The decision rules in force.
        engine: The compiled network.
        quality_gate: Whether pictures that are not good enough are refused.
        scope_gate: Whether pictures that are not dermoscopy are refused.
        sensitivity: The cancer sensitivity that was chosen; None for the bundle's.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        precision: Precision = "int8",
        threads: int | None = None,
        workers: int = 1,
        cache_dir: str | os.PathLike[str] | None = None,
        *,
        quality_gate: bool = True,
        scope_gate: bool = True,
        sensitivity: float | None = None,
        cache_read_only: bool = False,
        isolate: bool = False,
        require_signature: Key | None = None,
    ) -> None:
        """Open a bundle and compile its network.

        Args:
            bundle: Folder of a bundle, an open one, or the name of one that ships with the package:
                ``default`` (also None), or ``lite``, which is faster, smaller and less accurate.
            precision: The quantized network (``int8``) or the reference (``fp32``).
            threads: CPU threads; None for all that the quota and affinity allow.
            workers: Photos that `assess_many` works on at once, up to the number of threads. Each takes a
                compiled network of its own: memory, and a longer start.
            cache_dir: Folder for compiled networks, made if need be; the next start on this machine is then
                faster. Anyone who can write to this folder can replace the network that runs.
            quality_gate: Whether to refuse pictures that are not good enough (status ``retake``).
            scope_gate: Whether to refuse pictures that are not dermoscopy (status ``out_of_scope``).
            sensitivity: Cancer sensitivity to certify, 0.8 or more and below 1, in place of the bundle's
                screening point. Confidence, whose rule belongs to that point, is then None.
            cache_read_only: Whether to leave the cache as it is.
            isolate: Whether to decode files in child processes with limits of time and memory, one a worker.
            require_signature: A public key, as a PEM file or its bytes, that must have signed the bundle.
                There can be no cache then, since what it holds is not signed.

        Raises:
            BundleError: The bundle is missing, altered, not signed as required, or does not run.
            ResourceError: There is too little memory, or there are too few threads.
            SettingError: A setting is out of range, the cache cannot be written, the key is not one of ECDSA
                P-256, or the extra ``sign``, which signatures need, is missing.
        """
        precisions = f"one of {', '.join(get_args(Precision))}"
        require_kind("precision", precision, str, precisions)
        if precision not in get_args(Precision):
            raise SettingError(f"precision {precision!r}: choose {precisions}")
        require_kind("cache_dir", cache_dir, (str, os.PathLike, NoneType), "a folder, or leave it off")
        if isinstance(cache_dir, str) and not cache_dir.strip():
            raise SettingError(f"cache_dir {cache_dir!r}: choose a folder, or leave it off")
        switches = {
            "quality_gate": quality_gate, "scope_gate": scope_gate, "cache_read_only": cache_read_only,
            "isolate": isolate,
        }  # fmt: skip
        for name, value in switches.items():
            require_kind(name, value, bool, "True or False")
        key = None if require_signature is None else read_public_key(require_signature)
        if key is not None and cache_dir is not None:
            raise SettingError(
                f"cache {cache_dir}: compiled networks are not signed, so there is no cache where a "
                "signature is required; leave one of the two out"
            )
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        if key is not None:
            opened.require_signature(key)
        # A pickled copy may be opened in another working folder; its manifest makes it the same network.
        self.bundle = replace(opened, folder=opened.folder.absolute())
        cache_dir = None if cache_dir is None else Path(cache_dir).absolute()
        self._settings: dict[str, Any] = {
            "bundle": self.bundle, "precision": precision, "threads": threads, "workers": workers,
            "cache_dir": cache_dir, "quality_gate": quality_gate, "scope_gate": scope_gate,
            "sensitivity": sensitivity, "cache_read_only": cache_read_only,
            "isolate": isolate,
            "require_signature": key and key.pem,
        }  # fmt: skip
        self._process = os.getpid()
        self.quality_gate, self.scope_gate, self.sensitivity = quality_gate, scope_gate, sensitivity
        self.manifest = self.bundle.manifest
        rules = self.manifest.decision_rules[precision]
        self.rules = rules if sensitivity is None else rules_for_sensitivity(rules, sensitivity)
        views = self.manifest.preprocessing.views
        self._engine: Engine | None = Engine(
            self.bundle.ir(precision), threads, views, cache_dir, workers, cache_read_only
        )
        self._require_form(precision)
        self._ood_statistics = read_statistics(self.bundle.read(OOD)) if self.manifest.ood else None
        if self._ood_statistics and len(self._ood_statistics.feature_mean) != self.engine.n_features:
            raise BundleError(f"{self.bundle.folder / OOD}: of another network; pack the bundle anew")
        self._isolated = IsolatedDecoder(workers) if isolate else None
        manifest = self.manifest
        self.model = ModelInfo(
            manifest.name,
            manifest.version,
            self.bundle.sha256,
            precision,
            instruction_set(),
            manifest.classes,
        )

    @property
    def engine(self) -> Engine:
        """The compiled network. Raises SettingError once this is closed, and in a forked process."""
        engine = self._engine
        if engine is None:
            raise SettingError("this classifier is closed; make another one")
        if os.getpid() != self._process:
            raise SettingError(
                "this classifier was made before the process was forked, and its threads stayed behind; "
                "make one in each process, or start processes by spawn"
            )
        return engine

    @cached_property
    def head(self) -> Head:
        """The float32 head, for sampling and explanations. Raises BundleError if it does not fit."""
        head = read_head(self.bundle.read(HEAD))
        found = (head.weight1.shape[1], len(head.bias2))
        expected = (self.engine.n_features, self.engine.n_classes)
        if found != expected:
            raise BundleError(
                f"{self.bundle.folder / HEAD}: features and classes are {found}, the network's {expected}; "
                "pack the bundle anew"
            )
        return head

    def assess(
        self,
        image: Source,
        *,
        explain: Method | None = None,
        target: str = CANCER,
        mc_samples: int = 0,
        seed: int = 0,
        context: PatientContext | None = None,
        name: str | None = None,
    ) -> Assessment:
        """Assess one photo.

        Args:
            image: A path, the bytes of a picture file, or uint8 RGB of shape (h, w, 3).
            explain: Method of an evidence map, such as ``grad-cam``; None for no explanation, descriptors and
                pixels. ``occlusion`` takes 65 more passes of the network, the others take none.
            target: What the map shows the evidence for: ``cancer`` or a class.
            mc_samples: Samples of the head under dropout, 2 to 1000, on this precision's features; 0 for
                none. The decision stays that of the whole network.
            seed: Of the sampling, 0 or more.
            context: What is known besides the picture.
            name: What to call the picture in the result; None for its path, or its type.

        Raises:
            PhotoError: The photo cannot be read.
            ResourceError: Memory is short (code ``out_of_memory``).
            SettingError: An argument is unknown or out of range, or this classifier is closed or was forked.
            EdgeskinError: The network's output is not finite.
        """
        engine = self.engine
        require_kind("explain", explain, (str, NoneType), "a method such as grad-cam, or leave it off")
        require_kind("target", target, str, f"{CANCER}, or a class of the bundle")
        require_kind("context", context, (PatientContext, NoneType), "a PatientContext, or leave it off")
        require_kind("name", name, (str, NoneType), "a text, or leave it off")
        require_samples(mc_samples, seed)
        method = None if explain is None else find_method(explain)
        explained = None if method is None else find_target(target, self.rules)
        empty = Assessment(
            image=name or _name(image), status="assessed", model=self.model, timing_ms={},
            limitations=known_limitations(context or PatientContext()),
        )  # fmt: skip
        with naming_lacks(empty.image):
            return self._assess(engine, empty, image, method, explained, mc_samples, seed)

    def _assess(
        self,
        engine: Engine,
        empty: Assessment,
        image: Source,
        method: Method | None,
        explained: Target | None,
        mc_samples: int,
        seed: int,
    ) -> Assessment:
        """Fill an assessment; arguments as `assess`, which checked them."""
        clock = _StepClock()
        photo = self._load(image)
        clock.end("decode")
        quality = assess_quality(photo)
        clock.end("quality")
        result = replace(empty, quality=quality, pixels=_pixels(photo.image) if method else None)
        if quality.failed and self.quality_gate:
            action = RETAKE.format("; ".join(quality.retake))
            return _refused(result, "retake", action, clock)

        prepared = preprocess(photo.image, self.manifest.preprocessing)
        clock.end("preprocess")
        outputs = engine.infer(prepared, fmaps=method is not None)
        clock.end("network")
        self._require_finite(outputs.view_logits, outputs.view_features, outputs.fmaps)
        # The means may overflow where the views do not.
        self._require_finite(outputs.logits, outputs.features)
        ood = self._ood(outputs, prepared)
        clock.end("ood")
        result = replace(result, ood=ood)
        if ood is not None and ood.score > ood.threshold and self.scope_gate:
            return _refused(result, "out_of_scope", OUT_OF_SCOPE, clock)

        if mc_samples:
            sampled = self.head.sample(outputs.view_features[0], mc_samples, seed)
            self._require_finite(sampled)
            result = replace(result, uncertainty=summarize(sampled, seed, self.rules))
            clock.end("sampling")
        result = with_decision(result, decide(outputs.view_logits, self.rules), 0, self.rules)
        clock.end("decision")
        if method is not None and explained is not None:
            result = _described(result)
            clock.end("lesion")
            values = evidence_map(prepared, outputs, engine, self.head, explained, method)
            self._require_finite(values)
            shown = None if method == "eigen-cam" else explained.name
            result = replace(result, explanation=Explanation(method, shown, values, self.model))
            clock.end("explanation")
        return replace(result, timing_ms=clock.milliseconds())

    def assess_quality(self, image: Source) -> Quality:
        """Measure the quality of one photo, without the network, such as while a camera is held.

        Args:
            image: As `assess` takes it.

        Raises:
            PhotoError: The photo cannot be read.
            ResourceError: Memory is short (code ``out_of_memory``).
            SettingError: This classifier is closed or was forked.
        """
        _ = self.engine  # a closed one answers nothing
        with naming_lacks(_name(image)):
            return assess_quality(self._load(image))

    def assess_many(
        self,
        images: Iterable[Source | PhotoRef],
        *,
        explain: Method | None = None,
        target: str = CANCER,
        mc_samples: int = 0,
        seed: int = 0,
        context: PatientContext | None = None,
    ) -> Iterator[Assessment]:
        """Assess photos; results come in their order, and memory does not grow with their number.

        Args:
            images: Photos, as `assess` takes them, or as `edgeskin.photo.listing.list_photos` yields them,
                which have a name of their own and may have an age and a site.
            explain: As `assess`, the same for all photos; so are the others.
            target: As `assess`.
            mc_samples: As `assess`.
            seed: As `assess`.
            context: As `assess`, for photos that have no age and no site of their own.

        Returns:
            One assessment a photo; a photo that fails gives one of status ``error``. For a reason that nobody
            foresaw, its code is ``internal``, and the log says where.

        Raises:
            SettingError: ``images`` is a single photo, or an option is out of range.
        """
        _require_several(images, Iterable)
        assess = partial(
            self.assess, explain=explain, target=target, mc_samples=mc_samples, seed=seed, context=context
        )
        return in_order(images, partial(self._or_failure, assess), self.engine.workers)

    def assess_many_async(
        self,
        images: AsyncIterable[Source | PhotoRef] | Iterable[Source | PhotoRef],
        *,
        explain: Method | None = None,
        target: str = CANCER,
        mc_samples: int = 0,
        seed: int = 0,
        context: PatientContext | None = None,
    ) -> AsyncIterator[Assessment]:
        """Assess photos as `assess_many` does, in threads, while the event loop goes on.

        Args:
            images: Photos as `assess_many` takes them, or an asynchronous iterable of such.
            explain: As `assess`, the same for all photos; so are the others.
            target: As `assess`.
            mc_samples: As `assess`.
            seed: As `assess`.
            context: As `assess_many`.

        Returns:
            As `assess_many`.

        Raises:
            SettingError: As `assess_many`.
        """
        _require_several(images, Iterable | AsyncIterable)
        assess = partial(
            self.assess, explain=explain, target=target, mc_samples=mc_samples, seed=seed, context=context
        )
        return in_order_async(images, partial(self._or_failure, assess), self.engine.workers)

    def close(self) -> None:
        """Give the network's memory back. The classifier cannot be used afterwards."""
        self._engine = None
        if self._isolated is not None:
            self._isolated.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], "Classifier"], tuple[()]]:
        return partial(Classifier, **self._settings), ()

    def _load(self, image: Source) -> Photo:
        decoder = self._isolated.decode if self._isolated else None
        return load_photo(image, self.manifest.preprocessing.size, decoder)

    def _require_form(self, precision: Precision) -> None:
        size = self.manifest.preprocessing.size
        found = (self.engine.image_shape, self.engine.n_classes)
        expected = ((size, size, 3), len(self.manifest.classes))
        if found != expected:
            raise BundleError(
                f"{self.bundle.folder / (precision + '.xml')}: image and classes are {found}, the "
                f"manifest has {expected}; pack the bundle anew"
            )

    def _ood(self, outputs: NetworkOutputs, prepared: Image) -> Ood | None:
        """The OOD score; None if the bundle has no rule for it."""
        threshold, statistics = self.rules.ood_threshold, self._ood_statistics
        if statistics is None or threshold is None:
            return None
        ood = statistics.score(outputs, prepared, threshold)
        self._require_finite(np.float64(ood.score))
        return ood

    def _require_finite(self, *values: Float32s | np.float64 | None) -> None:
        if not all(one is None or np.isfinite(one).all() for one in values):
            raise EdgeskinError(
                f"the network {self.model.name} gave no finite answer; report the photo", "not_finite"
            )

    def _or_failure(self, assess: Callable[..., Assessment], image: Source | PhotoRef) -> Assessment:
        """The assessment of a photo; a photo that fails has one of status ``error``."""
        clock = _StepClock()
        try:
            if not isinstance(image, PhotoRef):
                return assess(image)
            if image.age is None and image.site is None:
                return assess(image.source(), name=image.name)
            return assess(image.source(), name=image.name, context=PatientContext(image.age, image.site))
        except (BundleError, SettingError):  # no image would do better
            raise
        except EdgeskinError as error:
            failed = error
        except Exception as error:  # a defect of ours or of a library must not cost the photos after this one
            kind = type(error).__name__
            failed = EdgeskinError(f"{kind}: {error}; report it with the photo", "internal")
            # Without the error's own words, which may name the photo.
            where = EdgeskinError(kind, "internal").with_traceback(error.__traceback__)
            _log.error("a photo failed for an unforeseen reason (%s)", kind, exc_info=where)
        name, message = _name(image), str(failed)
        if isinstance(image, PhotoRef):
            message = message.removeprefix("<bytes>: ")
        # Where the network failed, the error names no picture.
        message = message if message.startswith(name) else f"{name}: {message}"
        failure = Failure(type(failed).__name__, message, failed.code)
        return Assessment(
            image=name, status="error", model=self.model, timing_ms=clock.milliseconds(), error=failure
        )


def _require_several(images: object, kinds: Any) -> None:
    """Raise SettingError for a single photo, and for what cannot be iterated over."""
    is_one = isinstance(images, str | bytes | bytearray | os.PathLike | np.ndarray)
    if is_one or not isinstance(images, kinds):
        raise SettingError(
            f"assess_many takes several images, not one {type(images).__name__}: give a list, or assess"
        )


class _StepClock:
    """Milliseconds of each step since the one before, and of all together."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._steps: dict[str, float] = {}

    def end(self, step: str) -> None:
        now = time.perf_counter()
        self._steps[step] = 1e3 * (now - self._last)
        self._last = now

    def milliseconds(self) -> dict[str, float]:
        return self._steps | {"total": 1e3 * (time.perf_counter() - self._started)}


def _refused(result: Assessment, status: Status, action: str, clock: _StepClock) -> Assessment:
    code: ActionCode = "retake" if status == "retake" else "out_of_scope"
    return replace(result, status=status, action=action, action_code=code, timing_ms=clock.milliseconds())


def _pixels(image: Image) -> Pixels:
    square = center_square(image)
    return Pixels(resize(square, min(len(square), SHOWN_SIDE)))


def _described(result: Assessment) -> Assessment:
    """The result with the lesion's mask and its descriptors."""
    assert result.pixels is not None
    square = result.pixels.square
    mask = segment(square)
    return replace(result, pixels=Pixels(square, mask), descriptors=describe(square, mask))


def _name(image: Source | PhotoRef) -> str:
    if isinstance(image, PhotoRef):
        return image.name
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"<{type(image).__name__}>"
