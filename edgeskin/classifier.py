"""The object users hold: a bundle, opened and compiled once, that assesses photos."""

import os
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import get_args

import numpy as np

from edgeskin.assessment import AppliedPoint, Assessment, Failure, ModelInfo
from edgeskin.bundle import HEAD, Bundle, Precision, open_bundle
from edgeskin.decision import ACTIONS, RETAKE, cancer_probability, probabilities, risk_level, without_priors
from edgeskin.engine import Engine, instruction_set
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.photo import Source, load_photo
from edgeskin.preprocess import preprocess
from edgeskin.quality import judge
from edgeskin.uncertainty import Head, read_head, require_samples, summarize


class Classifier:
    """Assesses photos of skin lesions. Thread-safe; results are copies.

    bundle: folder of a bundle, or an open one; the one that ships with the package when None.
    precision: the quantized network (``int8``) or the reference (``fp32``).
    threads: CPU threads; all that the quota and affinity allow when None.
    quality_gate: whether a picture that is not good enough is turned away (status ``retake``) or assessed all
    the same, its quality told in either case.
    cache: a folder to keep the compiled network in, made if need be; the next start on the same machine is
    then quicker. Nothing is kept when None. Who may write there decides what runs.

    Raises BundleError for a bundle that is missing, altered or does not run, SettingError for a setting
    out of range or a cache that cannot be written.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        precision: Precision = "int8",
        threads: int | None = None,
        quality_gate: bool = True,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise SettingError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self.manifest = self.bundle.manifest
        preprocessing = self.manifest.preprocessing
        self.engine = Engine(
            self.bundle.read(f"{precision}.xml"),
            self.bundle.read(f"{precision}.bin"),
            threads,
            preprocessing.views,
            cache,
        )
        size = preprocessing.size
        says = (self.engine.image_shape, self.engine.n_classes)
        expected = ((size, size, 3), len(self.manifest.classes))
        if says != expected:
            raise BundleError(
                f"{self.bundle.folder / (precision + '.xml')}: image and classes are {says}, the manifest "
                f"says {expected}; pack the bundle anew"
            )
        self.quality_gate = quality_gate
        self._variant = self.manifest.variants[precision]
        self.model = ModelInfo(
            self.manifest.name, self.manifest.version, self.bundle.sha256, precision, instruction_set()
        )

    @cached_property
    def head(self) -> Head:
        """The head of the network in float32, for sampling. Raises BundleError when it does not fit."""
        head = read_head(self.bundle.read(HEAD))
        says = (head.weight1.shape[1], len(head.bias2))
        if says != (self.engine.n_features, self.engine.n_classes):
            raise BundleError(
                f"{self.bundle.folder / HEAD}: features and classes are {says}, the network's "
                f"{(self.engine.n_features, self.engine.n_classes)}; pack the bundle anew"
            )
        return head

    def assess(self, image: Source, *, mc_samples: int = 0, seed: int = 0) -> Assessment:
        """Assess one photo: a path, encoded bytes, or uint8 RGB of shape (h, w, 3).

        mc_samples: also sample the head, which is float32, so many times under dropout, 2 to 1000, on the
        features of this classifier's precision; the decision stays that of the whole network. seed: of the
        sampling. Raises PhotoError when the photo cannot be read, SettingError for a number of samples or a
        seed out of range, EdgeskinError when the answer is not finite.
        """
        if mc_samples:
            require_samples(mc_samples, seed)
        started = time.perf_counter()
        photo = load_photo(image, self.manifest.preprocessing.size)
        decoded = time.perf_counter()
        quality = judge(photo)
        judged = time.perf_counter()
        if quality.retake and self.quality_gate:
            return Assessment(
                image=_name(image),
                model=self.model,
                status="retake",
                action=RETAKE.format("; ".join(quality.retake)),
                quality=quality,
                timing_ms=_milliseconds(started, decode=decoded, quality=judged),
            )
        prepared = preprocess(photo.image, self.manifest.preprocessing)
        ready = time.perf_counter()
        outputs = self.engine.infer(prepared)
        inferred = time.perf_counter()
        if not np.isfinite(outputs.logits).all():
            raise EdgeskinError(f"the network {self.model.name} gave no finite answer; report the photo")
        classes = self.manifest.classes
        uncertainty = None
        if mc_samples:
            sampled = self.head.sample(outputs.features, mc_samples, seed)
            cancer = self.manifest.cancer_classes
            uncertainty = summarize(sampled, seed, self._variant.calibration, classes, cancer)
        ended = time.perf_counter()

        by_class = probabilities(outputs.logits, self._variant.calibration)
        p_cancer = float(cancer_probability(by_class, classes, self.manifest.cancer_classes))
        points, priors = self._variant.operating_points, self._variant.class_priors
        applied = tuple(AppliedPoint(point.name, point.threshold) for point in points)
        risk = risk_level(p_cancer, points)
        return Assessment(
            image=_name(image),
            model=self.model,
            status="assessed",
            probabilities=dict(zip(classes, by_class.tolist(), strict=True)),
            cancer_probability=p_cancer,
            predicted_class=classes[int(without_priors(by_class, priors).argmax())],
            class_priors=dict(zip(classes, priors, strict=True)) if priors else None,
            operating_point=applied[0],
            operating_points=applied,
            risk=risk,
            action=ACTIONS[risk],
            uncertainty=uncertainty,
            quality=quality,
            timing_ms=_milliseconds(
                started,
                decode=decoded,
                quality=judged,
                preprocess=ready,
                network=inferred,
                sampling=ended,
            ),
        )

    def assess_many(
        self, images: Iterable[Source], *, mc_samples: int = 0, seed: int = 0
    ) -> Iterator[Assessment]:
        """Assess photos one after another, in order; one that fails gives a result of status ``error``."""
        for image in images:
            started = time.perf_counter()
            try:
                yield self.assess(image, mc_samples=mc_samples, seed=seed)
            except (BundleError, SettingError):  # no image would do better
                raise
            except EdgeskinError as error:
                yield Assessment(
                    image=_name(image),
                    model=self.model,
                    status="error",
                    timing_ms=_milliseconds(started),
                    error=Failure(type(error).__name__, str(error)),
                )


def _milliseconds(started: float, **ends: float) -> dict[str, float]:
    """How long each step took, from when the one before ended, and all together."""
    spans = zip(ends, pairwise((started, *ends.values())), strict=True)
    steps = {name: 1e3 * (end - begin) for name, (begin, end) in spans}
    return steps | {"total": 1e3 * (time.perf_counter() - started)}


def _name(image: Source) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"<{type(image).__name__}>"
