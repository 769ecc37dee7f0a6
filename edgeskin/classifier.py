"""The object users hold: a bundle, opened and compiled once, that assesses photos."""

import os
import time
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import get_args

import numpy as np

from edgeskin.assessment import AppliedPoint, Assessment, Failure, ModelInfo
from edgeskin.bundle import HEAD, Bundle, Precision, open_bundle
from edgeskin.decision import ACTIONS, cancer_probability, probabilities, risk_level, without_priors
from edgeskin.engine import Engine, instruction_set
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.photo import Source, load_photo
from edgeskin.preprocess import preprocess
from edgeskin.uncertainty import Head, read_head, summarize


class Classifier:
    """Assesses photos of skin lesions. Thread-safe; results are copies.

    bundle: folder of a bundle, or an open one; the one that ships with the package when None.
    precision: the quantized network (``int8``) or the reference (``fp32``).
    threads: CPU threads; all that the quota and affinity allow when None.

    Raises BundleError for a bundle that is missing, altered or does not run, SettingError for a setting
    out of range.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        precision: Precision = "int8",
        threads: int | None = None,
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
        )
        size = preprocessing.size
        says = (self.engine.image_shape, self.engine.n_classes)
        expected = ((size, size, 3), len(self.manifest.classes))
        if says != expected:
            raise BundleError(
                f"{self.bundle.folder / (precision + '.xml')}: image and classes are {says}, the manifest "
                f"says {expected}; pack the bundle anew"
            )
        self._variant = self.manifest.variants[precision]
        self.model = ModelInfo(
            self.manifest.name, self.manifest.version, self.bundle.sha256, precision, instruction_set()
        )

    @cached_property
    def head(self) -> Head:
        """The head of the network in float32, for sampling. Raises BundleError when it does not fit."""
        return read_head(self.bundle.read(HEAD))

    def assess(self, image: Source, *, mc_samples: int = 0, seed: int = 0) -> Assessment:
        """Assess one photo: a path, encoded bytes, or uint8 RGB of shape (h, w, 3).

        mc_samples: also sample the head under dropout so many times, 1 to 1000; the decision stays that of
        the whole network. seed: of the sampling. Raises PhotoError when the photo cannot be read,
        SettingError for a number of samples out of range, EdgeskinError when the answer is not finite.
        """
        started = time.perf_counter()
        photo = load_photo(image, self.manifest.preprocessing.size)
        decoded = time.perf_counter()
        prepared = preprocess(photo.image, self.manifest.preprocessing)
        ready = time.perf_counter()
        outputs = self.engine.infer(prepared)
        inferred = time.perf_counter()
        if not np.isfinite(outputs.logits).all():
            raise EdgeskinError(f"the network {self.model.name} gave no finite answer; report the photo")
        sampled = self.head.sample(outputs.features, mc_samples, seed) if mc_samples else None
        ended = time.perf_counter()

        classes = self.manifest.classes
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
            uncertainty=None
            if sampled is None
            else summarize(sampled, seed, self._variant.calibration, classes, self.manifest.cancer_classes),
            timing_ms={
                "decode": 1e3 * (decoded - started),
                "preprocess": 1e3 * (ready - decoded),
                "network": 1e3 * (inferred - ready),
                "sampling": 1e3 * (ended - inferred),
                "total": 1e3 * (time.perf_counter() - started),
            },
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
                    timing_ms={"total": 1e3 * (time.perf_counter() - started)},
                    error=Failure(type(error).__name__, str(error)),
                )


def _name(image: Source) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"<{type(image).__name__}>"
