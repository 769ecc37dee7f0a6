"""Assessing any number of pictures into one table, part by part, so that a run that ends early can go on."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeskin import __version__
from edgeskin.batch.evaluation import Evaluation, LabelledScores
from edgeskin.batch.ledger import Ledger, Row, open_ledger
from edgeskin.batch.sinks import Form, row_of, write_table
from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import ResourceError, SettingError
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import SCHEMA_VERSION

PART_SIZE = 256
"""Pictures of a part: a run that is killed computes at most so many again."""


@dataclass(frozen=True)
class PartSettings:
    """What the rows of a part depend on, beside its pictures.

    Attributes:
        classifier: Assesses the pictures; a pickled copy opens its own network.
        form: Of the table.
        mc_samples: As `Classifier.assess`; so are the others.
        seed: Of the sampling.
        context: Of pictures that have no age and no site of their own.
    """

    classifier: Classifier
    form: Form
    mc_samples: int = 0
    seed: int = 0
    context: PatientContext | None = None

    def job(self, part_size: int) -> dict[str, Any]:
        """What a ledger records of them: rows of another job must not come into the table."""
        classifier, context = self.classifier, self.context or PatientContext()
        return {
            "schema": SCHEMA_VERSION,
            "bundle_sha256": classifier.bundle.sha256,
            "precision": classifier.model.precision,
            "rows": "json" if self.form == "jsonl" else "flat",
            "part_size": part_size,
            "settings": {
                "quality_gate": classifier.quality_gate,
                "scope_gate": classifier.scope_gate,
                "sensitivity": classifier.sensitivity,
                "mc_samples": self.mc_samples,
                "seed": self.seed,
                "age": context.age,
                "site": context.site,
            },
            "versions": {"edgeskin": __version__, "openvino": version("openvino")},
        }


@dataclass
class Summary:
    """What came of a run.

    Attributes:
        statuses: Pictures by status.
        risks: Pictures by risk.
        errors: Pictures by code of their error.
        computed: Pictures that this run assessed; the others were in the ledger.
        seconds: That it took.
        is_finished: Whether the table is written.
        evaluation: Of labelled pictures; None without labels.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    risks: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    seconds: float = 0.0
    is_finished: bool = False
    evaluation: Evaluation | None = None

    @property
    def pictures(self) -> int:
        """All pictures of the table."""
        return self.statuses.total()

    def add(self, row: Row) -> None:
        """Count a row."""
        self.statuses[row["status"]] += 1
        if row["risk"] is not None:
            self.risks[row["risk"]] += 1
        if row["status"] == "error":
            error = row["error"]
            self.errors[row["error_code"] if isinstance(error, str) else error["code"]] += 1


def assess_part(photos: Iterable[PhotoRef], settings: PartSettings) -> list[Row]:
    """The rows of pictures, in their order; one that fails has a row of status ``error``."""
    results = settings.classifier.assess_many(
        photos, mc_samples=settings.mc_samples, seed=settings.seed, context=settings.context
    )
    return [row_of(result, settings.form) for result in results]


def count_photos(photos: Iterable[PhotoRef]) -> int:
    """The number of pictures.

    Raises:
        SettingError: There are none, or one has an age or site that is not known.
    """

    @lru_cache(256)
    def require(age: float | None, site: str | None) -> None:
        PatientContext(age, site)

    number = 0
    for photo in photos:
        number += 1
        try:
            require(photo.age, photo.site)
        except SettingError as error:
            raise SettingError(f"{photo.name}: {error}") from error
    if not number:
        raise SettingError("there are no pictures; check the list")
    return number


def run(
    photos: Iterable[PhotoRef],
    settings: PartSettings,
    out: Path,
    *,
    retry_errors: bool = False,
    part_size: int = PART_SIZE,
    progress: Callable[[int, int], None] = lambda done, computed: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Assess pictures into a table, and go on where an earlier run of the same job ended.

    The ledger is deleted once the table is written, unless a picture failed: then the same call with
    ``retry_errors`` assesses only those again.

    Args:
        photos: As `edgeskin.photo.listing.list_photos` yields them.
        settings: How to assess them.
        out: The table.
        retry_errors: Whether to assess pictures again that failed in an earlier run.
        part_size: Pictures of a part, the same in every run of a job.
        progress: Called with the number of pictures done, and of those assessed by this run.
        should_stop: Asked after each part; the run then ends, and the ledger stays.

    Raises:
        SettingError: Another run writes this table, an unfinished run of another job is there, or there are
            no pictures.
        ResourceError: The table or the ledger cannot be written. What is done stays in the ledger.
    """
    manifest = settings.classifier.manifest
    summary, scores = Summary(), LabelledScores(manifest.classes, manifest.cancer_classes)
    assess = _Assess(settings, progress, summary)
    parts: list[tuple[str, int]] = []
    started = time.monotonic()
    with open_ledger(out, settings.job(part_size)) as ledger:
        for part in _parts(photos, part_size):
            if should_stop():
                break
            key, rows = _done(ledger, part, assess, retry_errors)
            parts.append((key, len(rows)))
            for photo, row in zip(part, rows, strict=True):
                summary.add(row)
                if photo.label is not None:
                    scores.add(photo.label, row)
            progress(summary.pictures, summary.computed)
        else:
            if not parts:
                ledger.remove()
                raise SettingError("there are no pictures; check the names")
            rows_in_order = itertools.chain.from_iterable(_in_order(ledger, parts))
            write_table(out, rows_in_order, settings.form, ledger.folder)
            summary.is_finished = True
            summary.evaluation = scores.evaluation()
            if not summary.statuses["error"]:
                ledger.remove()
    summary.seconds = time.monotonic() - started
    return summary


@dataclass(frozen=True)
class _Assess:
    """Assesses pictures of a part, and shows how far it is."""

    settings: PartSettings
    progress: Callable[[int, int], None]
    summary: Summary

    def __call__(self, photos: list[PhotoRef]) -> list[Row]:
        return assess_part(self._shown(photos), self.settings)

    def _shown(self, photos: list[PhotoRef]) -> Iterator[PhotoRef]:
        before = self.summary.pictures
        for number, photo in enumerate(photos):
            self.progress(before + number, self.summary.computed)
            yield photo
            self.summary.computed += 1


def _parts(photos: Iterable[PhotoRef], size: int) -> Iterator[list[PhotoRef]]:
    remaining = iter(photos)
    while part := list(itertools.islice(remaining, size)):
        yield part


def _in_order(ledger: Ledger, parts: Iterable[tuple[str, int]]) -> Iterator[list[Row]]:
    """The rows of parts, each given by its key and number of rows, as the ledger holds them."""
    for key, count in parts:
        rows = ledger.read(key)
        if rows is None or len(rows) != count:
            raise ResourceError(
                f"{ledger.folder}: a part that was done cannot be read; run the same command again",
                "unreadable",
            )
        yield rows


def _done(
    ledger: Ledger, part: list[PhotoRef], assess: Callable[[list[PhotoRef]], list[Row]], retry_errors: bool
) -> tuple[str, list[Row]]:
    """The key and the rows of a part: from the ledger, or assessed and put there."""
    key = ledger.key(part)
    rows = ledger.read(key)
    if rows is None or len(rows) != len(part):
        rows = assess(part)
        ledger.write(key, rows)
    elif retry_errors and (failed := [place for place, row in enumerate(rows) if row["status"] == "error"]):
        for place, row in zip(failed, assess([part[place] for place in failed]), strict=True):
            rows[place] = row
        ledger.write(key, rows)
    return key, rows
