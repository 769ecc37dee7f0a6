"""The object users hold: a bundle, opened and compiled once, that assesses photos."""

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Self, get_args

import numpy as np

from edgeskin.arrays import Float32s, Image
from edgeskin.bundle.bundle import Bundle, open_bundle
from edgeskin.bundle.signature import Key, read_public_key
from edgeskin.classifier.failures import assess_or_fail, name_of, require_several
from edgeskin.classifier.parts import open_head, open_statistics, require_form
from edgeskin.classifier.steps import StepClock, refused, shown_square, with_lesion
from edgeskin.decision.decide import OUT_OF_SCOPE, RETAKE, decide, with_decision
from edgeskin.decision.limitations import PatientContext, known_limitations
from edgeskin.decision.mc_dropout import require_samples, summarize
from edgeskin.decision.operating_points import rules_for_sensitivity
from edgeskin.errors import EdgeskinError, SettingError, naming_lacks, require_kind
from edgeskin.explain.cam import explain as evidence_map
from edgeskin.explain.cam import find_method
from edgeskin.explain.target import CANCER, Target, find_target
from edgeskin.imaging.preprocess import preprocess
from edgeskin.imaging.quality import assess_quality
from edgeskin.network.cpu import instruction_set
from edgeskin.network.engine import Engine, NetworkOutputs
from edgeskin.network.head import Head
from edgeskin.photo.decode import Photo, Source, load_photo
from edgeskin.photo.in_order import in_order, in_order_async
from edgeskin.photo.isolation import IsolatedDecoder
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import Assessment, Explanation, Method, ModelInfo, Ood, Precision, Quality


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
        engine = Engine(self.bundle.ir(precision), threads, views, cache_dir, workers, cache_read_only)
        self._engine: Engine | None = engine
        require_form(engine, self.bundle, precision)
        self._ood_statistics = open_statistics(self.bundle, engine)
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
        return open_head(self.bundle, self.engine)

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
        _require_context(context)
        require_kind("name", name, (str, NoneType), "a text, or leave it off")
        require_samples(mc_samples, seed)
        method = None if explain is None else find_method(explain)
        explained = None if method is None else find_target(target, self.rules)
        empty = Assessment(
            image=name or name_of(image), status="assessed", model=self.model, timing_ms={},
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
        clock = StepClock()
        photo = self._load(image)
        clock.end("decode")
        quality = assess_quality(photo)
        clock.end("quality")
        result = replace(empty, quality=quality, pixels=shown_square(photo.image) if method else None)
        if quality.failed and self.quality_gate:
            action = RETAKE.format("; ".join(quality.retake))
            return refused(result, "retake", action, clock)

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
            return refused(result, "out_of_scope", OUT_OF_SCOPE, clock)

        if mc_samples:
            sampled = self.head.sample(outputs.view_features[0], mc_samples, seed)
            self._require_finite(sampled)
            result = replace(result, uncertainty=summarize(sampled, seed, self.rules))
            clock.end("sampling")
        result = with_decision(result, decide(outputs.view_logits, self.rules), 0, self.rules)
        clock.end("decision")
        if method is not None and explained is not None:
            result = with_lesion(result)
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
        with naming_lacks(name_of(image)):
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
            context: As `assess`. An age or site that a photo has of its own takes the place of this one's.

        Returns:
            One assessment a photo; a photo that fails gives one of status ``error``. For a reason that nobody
            foresaw, its code is ``internal``, and the log says where.

        Raises:
            SettingError: ``images`` is a single photo, or an option is out of range.
        """
        require_several(images, Iterable)
        _require_context(context)
        assess = partial(self.assess, explain=explain, target=target, mc_samples=mc_samples, seed=seed)
        assess_one = partial(assess_or_fail, assess, self.model, context)
        return in_order(images, assess_one, self.engine.workers)

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
        require_several(images, Iterable | AsyncIterable)
        _require_context(context)
        assess = partial(self.assess, explain=explain, target=target, mc_samples=mc_samples, seed=seed)
        assess_one = partial(assess_or_fail, assess, self.model, context)
        return in_order_async(images, assess_one, self.engine.workers)

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


def _require_context(context: PatientContext | None) -> None:
    require_kind("context", context, (PatientContext, NoneType), "a PatientContext, or leave it off")
