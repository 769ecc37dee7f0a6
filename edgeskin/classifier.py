"""The object users hold: a bundle, opened and compiled once, that assesses photos."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeVar, get_args

import numpy as np

from edgeskin.arrays import Image
from edgeskin.bundle.bundle import HEAD, OOD, Bundle, Precision, open_bundle
from edgeskin.bundle.manifest import operating_points
from edgeskin.decision.confidence import certainty
from edgeskin.decision.decide import (
    ACTIONS,
    OUT_OF_SCOPE,
    RETAKE,
    cancer_probability,
    label_set,
    leading_label,
    probabilities,
    risk_level,
    without_priors,
)
from edgeskin.decision.limitations import Context, blind_spots
from edgeskin.decision.mc_dropout import require_samples, summarize
from edgeskin.decision.ood import Ood, read_statistics
from edgeskin.errors import BundleError, EdgeskinError, SettingError
from edgeskin.examination import SHOWN_SIDE, Examination
from edgeskin.explain.cam import CANCER, Explanation, explain, find_method, find_target
from edgeskin.imaging.descriptors import describe
from edgeskin.imaging.preprocess import center_square, preprocess, resize
from edgeskin.imaging.quality import assess_quality
from edgeskin.imaging.segmentation import segment
from edgeskin.network.engine import Engine, Outputs, instruction_set
from edgeskin.network.head import Head, read_head
from edgeskin.photo.decode import Photo, Source, load_photo
from edgeskin.results import AppliedPoint, Assessment, Failure, ModelInfo

Answer = TypeVar("Answer")


class Classifier:
    """Assesses photos of skin lesions. Threads may share one, processes not: make it after a fork. Results
    are copies.

    bundle: folder of a bundle, an open one, or the name of one that ships with the package: ``default``, the
    same as None, or ``lite``, which is quicker, smaller and less exact.
    precision: the quantized network (``int8``) or the reference (``fp32``).
    threads: CPU threads; all that the quota and affinity allow when None.
    quality_gate: whether a picture that is not good enough is turned away (status ``retake``) or assessed
    all the same, its quality told in either case.
    scope_gate: the same for a picture of another kind than the network knows (status ``out_of_scope``).
    sensitivity: to certify instead of the bundle's screening point, 0.8 or more: below its threshold the
    risk is LOW. Certainty, whose rule belongs to the bundle's point, is then None.
    cache: a folder to keep the compiled network in, made if need be; the next start on the same machine and
    with the same settings is then quicker. Nothing is kept when None. Who may write there decides what runs.
    keep: False takes what the cache holds and adds nothing to it.
    streams: photos that `assess_many` and `examine_many` work on at once, up to the number of threads; a
    photo that is alone has its views shared among them. Each takes a compiled network of its own, which is
    memory and a longer start; what it gains depends on the CPU.

    Raises BundleError for a bundle that is missing, altered or does not run, SettingError for a setting
    out of range or a cache that cannot be written.
    """

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Bundle | None = None,
        precision: Precision = "int8",
        threads: int | None = None,
        *,
        quality_gate: bool = True,
        scope_gate: bool = True,
        sensitivity: float | None = None,
        cache: str | os.PathLike[str] | None = None,
        streams: int = 1,
        keep: bool = True,
    ) -> None:
        if precision not in get_args(Precision):
            raise SettingError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self.manifest = self.bundle.manifest
        preprocessing = self.manifest.preprocessing
        self.engine = Engine(
            self.bundle.ir(precision),
            threads,
            preprocessing.views,
            cache,
            streams,
            keep,
        )
        size = preprocessing.size
        says = (self.engine.image_shape, self.engine.n_classes)
        expected = ((size, size, 3), len(self.manifest.classes))
        if says != expected:
            raise BundleError(
                f"{self.bundle.folder / (precision + '.xml')}: image and classes are {says}, the manifest "
                f"says {expected}; pack the bundle anew"
            )
        self.quality_gate, self.scope_gate = quality_gate, scope_gate
        self._variant = self.manifest.variants[precision]
        self.operating_points = operating_points(self._variant, sensitivity)
        """By rising threshold; the first is the screening point."""
        self._certainty_rule = self._variant.certainty if sensitivity is None else None
        self._statistics = read_statistics(self.bundle.read(OOD)) if self.manifest.ood else None
        if self._statistics and len(self._statistics.feature_mean) != self.engine.n_features:
            raise BundleError(f"{self.bundle.folder / OOD}: of another network; pack the bundle anew")
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

    def assess(
        self, image: Source, *, mc_samples: int = 0, seed: int = 0, context: Context | None = None
    ) -> Assessment:
        """Assess one photo: a path, encoded bytes, or uint8 RGB of shape (h, w, 3).

        mc_samples: also sample the head, which is float32, so many times under dropout, 2 to 1000, on the
        features of this classifier's precision; the decision stays that of the whole network. seed: of the
        sampling. context: what is known beside the picture; it changes which blind spots are told, nothing
        else. Raises PhotoError when the photo cannot be read, SettingError for a number of samples or a seed
        out of range, EdgeskinError when the answer is not finite.
        """
        return self._assess(image, mc_samples, seed, context, fmaps=False)[0]

    def examine(
        self,
        image: Source,
        *,
        target: str = CANCER,
        method: str = "grad-cam",
        mc_samples: int = 0,
        seed: int = 0,
        context: Context | None = None,
    ) -> Examination:
        """Assess one photo, and tell where the evidence lies and what the lesion looks like.

        target: ``cancer`` or a class: the evidence for it. method: of the map, see `edgeskin.explain.cam`;
        ``occlusion`` takes 65 more passes of the network, the others none. The rest as `assess`; raises
        SettingError for an unknown target or method too.
        """
        manifest = self.manifest
        calibration = self._variant.calibration
        explained = find_target(target, manifest.classes, manifest.cancer_classes, calibration)
        by = find_method(method)
        started = time.perf_counter()
        assessment, seen = self._assess(image, mc_samples, seed, context, fmaps=True)
        assessed = time.perf_counter()
        centered = center_square(seen.photo.image)
        square = resize(centered, min(len(centered), SHOWN_SIDE))
        if assessment.status != "assessed" or seen.network is None:
            return Examination(assessment, square)
        mask = segment(square)
        descriptors = describe(square, mask)
        described = time.perf_counter()
        values = explain(*seen.network, self.engine, self.head, explained, by)
        explanation = Explanation(by, None if by == "eigen-cam" else target, values, self.model)
        steps = {"assessment": assessed, "lesion": described, "explanation": time.perf_counter()}
        timing = {**assessment.timing_ms, **_milliseconds(started, **steps)}
        del timing["assessment"]
        return Examination(replace(assessment, timing_ms=timing), square, mask, descriptors, explanation)

    def _assess(
        self, image: Source, mc_samples: int, seed: int, context: Context | None, *, fmaps: bool
    ) -> tuple[Assessment, "_Seen"]:
        if mc_samples:
            require_samples(mc_samples, seed)
        around = blind_spots(context or Context())
        started = time.perf_counter()
        photo = load_photo(image, self.manifest.preprocessing.size)
        decoded = time.perf_counter()
        quality = assess_quality(photo)
        judged = time.perf_counter()
        told = partial(
            Assessment,
            image=_name(image),
            model=self.model,
            quality=quality,
            blind_spots=around,
        )
        steps = {"decode": decoded, "quality": judged}
        if quality.retake and self.quality_gate:
            advice = RETAKE.format("; ".join(quality.retake))
            turned_away = told(status="retake", action=advice, timing_ms=_milliseconds(started, **steps))
            return turned_away, _Seen(photo)
        prepared = preprocess(photo.image, self.manifest.preprocessing)
        steps["preprocess"] = time.perf_counter()
        outputs = self.engine.infer(prepared, fmaps=fmaps)
        steps["network"] = time.perf_counter()
        ood = self._ood(outputs, prepared)
        if not np.isfinite([*outputs.logits, ood.score if ood else 0]).all():
            raise EdgeskinError(f"the network {self.model.name} gave no finite answer; report the photo")
        steps["ood"] = time.perf_counter()
        told = partial(told, ood=ood)
        if ood is not None and ood.score > ood.threshold and self.scope_gate:
            timing = _milliseconds(started, **steps)
            turned_away = told(status="out_of_scope", action=OUT_OF_SCOPE, timing_ms=timing)
            return turned_away, _Seen(photo, (prepared, outputs))

        classes, cancer = self.manifest.classes, self.manifest.cancer_classes
        calibration, priors = self._variant.calibration, self._variant.class_priors
        if mc_samples:
            sampled = self.head.sample(outputs.features, mc_samples, seed)
            told = partial(told, uncertainty=summarize(sampled, seed, calibration, classes, cancer))
            steps["sampling"] = time.perf_counter()
        by_class = probabilities(outputs.logits, calibration)
        p_cancer = float(cancer_probability(by_class, classes, cancer))
        points, sets, rule = self.operating_points, self._variant.label_sets, self._certainty_rule
        if sets is not None:
            members = label_set(by_class, sets.thresholds)
            ranked = np.argsort(-by_class, kind="stable").tolist()
            told = partial(
                told,
                label_set=tuple(classes[place] for place in ranked if members[place]),
                leading_label=leading_label(by_class, members, classes, cancer),
            )
        if rule is not None:
            of_views = cancer_probability(probabilities(outputs.view_logits, calibration), classes, cancer)
            told = partial(told, certainty=certainty(p_cancer, of_views, points[0].threshold, rule))
        applied = tuple(AppliedPoint(point.name, point.threshold, point.certificate) for point in points)
        risk = risk_level(p_cancer, points)
        assessed = told(
            status="assessed",
            probabilities=dict(zip(classes, by_class.tolist(), strict=True)),
            cancer_probability=p_cancer,
            predicted_class=classes[int(without_priors(by_class, priors).argmax())],
            cancer_classes=cancer,
            class_priors=dict(zip(classes, priors, strict=True)) if priors else None,
            prevalence=float(cancer_probability(np.array(priors), classes, cancer)) if priors else None,
            operating_point=applied[0],
            operating_points=applied,
            risk=risk,
            action=ACTIONS[risk],
            timing_ms=_milliseconds(started, **steps, decision=time.perf_counter()),
        )
        return assessed, _Seen(photo, (prepared, outputs))

    def _ood(self, outputs: Outputs, prepared: Image) -> Ood | None:
        threshold = self._variant.ood_threshold
        if self._statistics is None or threshold is None:
            return None
        of_features, of_picture = self._statistics.of_image(outputs, prepared).tolist()
        return Ood(of_features + of_picture, threshold, of_features, of_picture)

    def assess_many(
        self,
        images: Iterable[Source],
        *,
        mc_samples: int = 0,
        seed: int = 0,
        context: Context | None = None,
    ) -> Iterator[Assessment]:
        """Assess photos, answered in their order; one that fails gives a result of status ``error``."""
        one = partial(self.assess, mc_samples=mc_samples, seed=seed, context=context)
        return self._each(images, one, lambda failed: failed)

    def examine_many(
        self,
        images: Iterable[Source],
        *,
        target: str = CANCER,
        method: str = "grad-cam",
        mc_samples: int = 0,
        seed: int = 0,
        context: Context | None = None,
    ) -> Iterator[Examination]:
        """As `examine`, answered in order; one that fails gives an assessment of status ``error``."""
        one = partial(
            self.examine, target=target, method=method, mc_samples=mc_samples, seed=seed, context=context
        )
        return self._each(images, one, Examination)

    def _each(
        self,
        images: Iterable[Source],
        one: Callable[[Source], Answer],
        failed: Callable[[Assessment], Answer],
    ) -> Iterator[Answer]:
        def answer(image: Source) -> Answer:
            started = time.perf_counter()
            try:
                return one(image)
            except (BundleError, SettingError):  # no image would do better
                raise
            except EdgeskinError as error:
                return failed(
                    Assessment(
                        image=_name(image),
                        model=self.model,
                        status="error",
                        timing_ms=_milliseconds(started),
                        error=Failure(type(error).__name__, str(error)),
                    )
                )

        streams = self.engine.streams
        if streams == 1:
            yield from map(answer, images)
            return
        waiting: deque[Future[Answer]] = deque()
        with ThreadPoolExecutor(streams) as pool:
            try:
                for image in images:
                    waiting.append(pool.submit(answer, image))
                    # So many that no stream waits for the next photo, and no more, however many come.
                    if len(waiting) > 2 * streams:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


@dataclass(frozen=True)
class _Seen:
    """What an assessment was made from; network: its input and what it said, where it was asked."""

    photo: Photo
    network: tuple[Image, Outputs] | None = None


def _milliseconds(started: float, **ends: float) -> dict[str, float]:
    """How long each step took, from when the one before ended, and all together."""
    spans = zip(ends, pairwise((started, *ends.values())), strict=True)
    steps = {name: 1e3 * (end - begin) for name, (begin, end) in spans}
    return steps | {"total": 1e3 * (time.perf_counter() - started)}


def _name(image: Source) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"<{type(image).__name__}>"
