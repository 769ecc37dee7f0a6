"""Assessing any number of pictures into one table, part by part, so that a run that ends early can go on.

The engine that assesses the parts can be exchanged: `assess_here` does it in this process,
`edgeskin.batch.ray.RayEngine` on a cluster. The ledger and the table are the same with both.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import cv2

from edgeskin import __version__
from edgeskin.batch.evaluation import Evaluation, LabelledScores
from edgeskin.batch.ledger import Ledger, Output, Row, open_ledger, picture_key
from edgeskin.batch.sinks import Form, row_of, write_table
from edgeskin.bundle.manifest import Manifest
from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import SITES, PatientContext
from edgeskin.errors import EdgeskinError, ResourceError, SettingError
from edgeskin.photo.in_order import in_order
from edgeskin.photo.listing import PhotoRef
from edgeskin.results import SCHEMA_VERSION

PART_SIZE = 128
"""Pictures of a part: a run that is killed computes at most so many again, for each worker of a cluster."""

MIN_OUTAGE = 8
"""Pictures of a part at least whose store gives nothing before that ends the run."""
READERS = 4
"""Pictures that are fetched from a store at once, while others are assessed."""

MOST_NAMED = 20
"""Wrong ages and sites of lists that one error names."""


@dataclass(frozen=True)
class PartSettings:
    """What the rows of a part depend on, beside its pictures.

    Attributes:
        classifier: Assesses the pictures; a pickled copy opens its own network.
        form: Of the table.
        mc_samples: As `Classifier.assess`; so are the others.
        seed: Of the sampling.
        context: An age or site that a picture has of its own takes the place of this one's.
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
            "instruction_set": classifier.model.isa,
            "versions": {
                "edgeskin": __version__,
                "openvino": version("openvino"),
                "opencv": cv2.__version__,  # its package has several names
            },
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


@dataclass(frozen=True)
class Part:
    """Pictures whose rows are kept together.

    Attributes:
        key: Of the ledger.
        photos: All of them.
        picture_keys: Theirs, in the same order, taken before any was read.
        rows: Their rows; None for a picture that has to be assessed.
    """

    key: str
    photos: Sequence[PhotoRef]
    picture_keys: Sequence[str]
    rows: Sequence[Row | None]

    @property
    def missing(self) -> list[PhotoRef]:
        """The pictures that have to be assessed."""
        return [photo for photo, row in zip(self.photos, self.rows, strict=True) if row is None]

    def filled(self, rows: Iterable[Row]) -> list[Row]:
        """All rows, given those of `missing`. Raises EdgeskinError if they are of other pictures."""
        computed = list(rows)
        if [row["image"] for row in computed] != [photo.name for photo in self.missing]:
            raise EdgeskinError("rows came for other pictures than were asked for; report it", "internal")
        remaining = iter(computed)
        return [next(remaining) if row is None else row for row in self.rows]


Engine = Callable[[Iterator[Part], Callable[[int], None]], Iterator[tuple[Part, Sequence[Row]]]]
"""Takes parts, and what it calls with the number of pictures that were just assessed. Yields each part with
the rows of its `missing` pictures, in any order of the parts."""


def assess_part(photos: Sequence[PhotoRef], settings: PartSettings) -> Iterator[Row]:
    """The rows of pictures, in their order; one that fails has a row of status ``error``."""
    is_remote = any(photo.is_remote for photo in photos)
    read = in_order(photos, PhotoRef.fetched, READERS) if is_remote else photos
    results = settings.classifier.assess_many(
        read, mc_samples=settings.mc_samples, seed=settings.seed, context=settings.context
    )
    return (row_of(result, settings.form) for result in results)


def assess_here(settings: PartSettings) -> Engine:
    """The engine that assesses one part after another in this process."""

    def engine(
        parts: Iterator[Part], computed: Callable[[int], None]
    ) -> Iterator[tuple[Part, Sequence[Row]]]:
        for part in parts:
            rows = []
            for row in assess_part(part.missing, settings):
                rows.append(row)
                computed(1)
            yield part, rows

    return engine


def count_photos(photos: Iterable[PhotoRef]) -> int:
    """The number of pictures.

    Raises:
        SettingError: There are none, or some have an age or site that is not known. The message names each
            such age and site once, with its first row, up to MOST_NAMED of them.
    """
    wrong: dict[str, str] = {}

    @lru_cache(256)
    def is_known(**known: Any) -> bool:
        try:
            PatientContext(**known)
        except SettingError:
            return False
        return True

    number = 0
    for photo in photos:
        number += 1
        if not is_known(age=photo.age):
            wrong.setdefault(f"age {photo.age:g}", photo.row or photo.name)
        if not is_known(site=photo.site):
            wrong.setdefault(f"site {photo.site!r}", photo.row or photo.name)
    if wrong:
        named = "; ".join(f"{place}: {value}" for value, place in itertools.islice(wrong.items(), MOST_NAMED))
        more = f"; and {len(wrong) - MOST_NAMED:,} more" if len(wrong) > MOST_NAMED else ""
        raise SettingError(
            f"{named}{more}; ages are 0 to 120 years, and sites {', '.join(SITES)}: correct all rows "
            "that have these, or empty their cells"
        )
    if not number:
        raise SettingError("there are no pictures; check the list")
    return number


def run(
    photos: Iterable[PhotoRef],
    settings: PartSettings,
    out: Output,
    *,
    engine: Engine | None = None,
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
        engine: What assesses the parts; None for this process.
        retry_errors: Whether to assess pictures again that failed in an earlier run.
        part_size: Pictures of a part, the same in every run of a job.
        progress: Called with the number of pictures done, and of those assessed by this run.
        should_stop: Asked before each part; the run ends after the parts in progress, and the ledger stays.

    Raises:
        SettingError: Another run writes this table, an unfinished run of another job is there, or there are
            no pictures.
        ResourceError: The table or the ledger cannot be written, or the engine finds no workers. What is done
            stays in the ledger.
    """
    engine = engine or assess_here(settings)
    started = time.monotonic()
    with open_ledger(out, settings.job(part_size)) as ledger:
        state = _Run(settings.classifier.manifest, ledger, progress)
        for part, rows in engine(
            state.unfinished(photos, part_size, retry_errors, should_stop), state.add_computed
        ):
            state.finish(part, rows)
        summary = state.summary
        if not state.is_stopped:
            if not state.parts:
                ledger.remove()
                raise SettingError("there are no pictures; check the names")
            rows_in_order = itertools.chain.from_iterable(state.rows())
            write_table(out, rows_in_order, settings.form)
            summary.is_finished = True
            summary.evaluation = state.scores.evaluation()
            if not summary.statuses["error"]:
                ledger.remove()
    summary.seconds = time.monotonic() - started
    return summary


def _is_outage(photo: PhotoRef, row: Row) -> bool:
    """Whether a picture's store could not be reached."""
    error = row["error"] or {}
    return photo.is_remote and (row.get("error_code") or error.get("code")) == "unreadable"


class _Run:
    """How far a run is.

    Attributes:
        summary: Of the parts that are done.
        scores: Of their labelled pictures.
        parts: Key and number of pictures of each part, in order.
        is_stopped: Whether it ends before its end.
    """

    def __init__(self, manifest: Manifest, ledger: Ledger, progress: Callable[[int, int], None]) -> None:
        self._ledger, self._progress = ledger, progress
        self.summary, self.scores = Summary(), LabelledScores(manifest.classes, manifest.cancer_classes)
        self.parts: list[tuple[str, int]] = []
        self.is_stopped = False
        self._reused = 0

    def unfinished(
        self,
        photos: Iterable[PhotoRef],
        part_size: int,
        retry_errors: bool,
        should_stop: Callable[[], bool],
    ) -> Iterator[Part]:
        """Yield the parts that have to be assessed; what the ledger has is finished at once."""
        remaining = iter(photos)
        while some := list(itertools.islice(remaining, part_size)):
            if should_stop():
                self.is_stopped = True
                return
            key, picture_keys = self._ledger.key(some), [picture_key(photo) for photo in some]
            self.parts.append((key, len(some)))
            done = {entry["picture"]: entry["row"] for entry in self._ledger.read(key) or ()}
            if retry_errors:
                done = {picture: row for picture, row in done.items() if row["status"] != "error"}
            part = Part(key, some, picture_keys, [done.get(picture) for picture in picture_keys])
            missing = len(part.missing)
            self._reused += len(some) - missing
            if missing:
                yield part
            else:
                self._count(some, part.filled(()))
                self.add_computed(0)

    def add_computed(self, pictures: int) -> None:
        """Count pictures that were just assessed, and show how far the run is."""
        self.summary.computed += pictures
        self._progress(self._reused + self.summary.computed, self.summary.computed)

    def finish(self, part: Part, rows: Iterable[Row]) -> None:
        """Keep the rows of a part's missing pictures."""
        whole = part.filled(rows)
        if len(whole) >= MIN_OUTAGE and all(map(_is_outage, part.photos, whole)):
            raise ResourceError(
                f"{part.photos[0].name} and the {len(whole) - 1} pictures after it: their store gives "
                "nothing; check credentials and network, and run the same command again",
                "unreadable",
            )
        entries = zip(part.picture_keys, whole, strict=True)
        self._ledger.write(part.key, [{"picture": picture, "row": row} for picture, row in entries])
        self._count(part.photos, whole)

    def rows(self) -> Iterator[list[Row]]:
        """The rows of all parts, in order, as the ledger holds them."""
        for key, count in self.parts:
            entries = self._ledger.read(key)
            if entries is None or len(entries) != count:
                raise ResourceError(
                    f"{self._ledger}: a part that was done cannot be read; run the same command again",
                    "unreadable",
                )
            yield [entry["row"] for entry in entries]

    def _count(self, photos: Iterable[PhotoRef], rows: Iterable[Row]) -> None:
        for photo, row in zip(photos, rows, strict=True):
            self.summary.add(row)
            if photo.label is not None:
                self.scores.add(photo.label, row)
