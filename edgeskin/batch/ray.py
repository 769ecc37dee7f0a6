"""The engine that assesses parts on many machines, or processes of this one, by Ray (extra ``cluster``).

The driver, which is the process that runs the command, lists the pictures, keeps the ledger and writes the
table. Ray actors, the workers, hold one network each. A worker gets one part at a time, reads its pictures
itself, and returns their rows.

A worker that is lost, with its node or alone, is replaced, and its pictures are given to another one in two
halves. So a picture that kills its workers is soon alone, and after MAX_LOSSES more workers it costs one row
of status ``error``.
"""

import logging
import os
import pickle
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from edgeskin.batch.ledger import Row
from edgeskin.batch.runner import Part, PartSettings, assess_part
from edgeskin.errors import EdgeskinError, PhotoError, ResourceError, SettingError
from edgeskin.network.cpu import available_threads
from edgeskin.photo.listing import PhotoRef

MAX_LOSSES = 3
"""Workers more that get a single picture whose worker was lost."""
START_S = 120.0
"""Seconds to wait for a first worker."""
CONNECT_S = 10.0
_LOOK_S = 0.5
"""Seconds after which a signal is seen at the latest."""

_log = logging.getLogger(__name__)


class Worker:
    """What an actor runs: one network, which takes pictures one after another."""

    def open(self, settings: bytes) -> dict[str, Any]:
        """Open the network, and return what the rows depend on.

        It is opened here, and not as Ray hands the settings over, so that what is wrong with a bundle is
        raised as it is.

        Args:
            settings: A pickled `PartSettings`.
        """
        loaded = pickle.loads(settings)
        assert isinstance(loaded, PartSettings)
        self._settings = loaded
        return _worker_job(loaded)

    def assess(self, photos: Sequence[PhotoRef]) -> list[Row]:
        """The rows of pictures."""
        return list(assess_part(photos, self._settings))


class _UnfinishedPart:
    """A part that is not done.

    Attributes:
        part: All of it.
        photos: Its missing pictures.
        rows: Theirs; None for those that no worker returned yet.
    """

    def __init__(self, part: Part) -> None:
        self.part, self.photos = part, part.missing
        self.rows: list[Row | None] = [None] * len(self.photos)


@dataclass(frozen=True)
class _Piece:
    """Pictures of a part that one worker gets. losses: workers that they cost while they were alone."""

    unfinished: _UnfinishedPart
    first: int
    end: int
    losses: int = 0

    @property
    def photos(self) -> list[PhotoRef]:
        return self.unfinished.photos[self.first : self.end]

    def retries(self) -> list["_Piece"]:
        """What other workers get once its own worker is lost."""
        if self.end - self.first == 1:
            return [replace(self, losses=self.losses + 1)]
        middle = (self.first + self.end) // 2
        return [replace(self, end=middle), replace(self, first=middle)]


class RayEngine:
    """Assesses parts by Ray actors. Use it as a context manager, which ends what it started.

    Attributes:
        workers: Actors that it asks for.
    """

    def __init__(
        self,
        settings: PartSettings,
        *,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
    ) -> None:
        """Connect to a cluster.

        Args:
            settings: How to assess pictures. Every node must be able to open their bundle by the same path.
            address: Of a cluster, such as ``head:6379``, or ``auto``; None for RAY_ADDRESS, or a Ray of this
                machine alone that ends with this.
            workers: Actors; None for as many as the cluster has threads for.
            threads: CPU threads of each, as the settings' classifier has.

        Raises:
            SettingError: The extra is missing.
            ResourceError: The cluster cannot be reached, or is too small (code ``no_workers``).
        """
        self._ray = _import_ray()
        self._settings, self._threads = settings, threads
        address = address or os.environ.get("RAY_ADDRESS") or None
        here = {} if address else {"num_cpus": available_threads(), "include_dashboard": False}
        try:
            if address:
                _require_reachable(address)
            self._ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **here)
        except Exception as error:  # of many classes
            raise ResourceError(
                f"no Ray cluster at {address or 'this machine'} ({error}); check its address, or leave "
                "--engine out",
                "no_workers",
            ) from error
        nodes = (node["Resources"] for node in self._ray.nodes() if node["Alive"])
        room = sum(int(node.get("CPU", 0) // threads) for node in nodes)
        self.workers = workers or room
        if not 0 < self.workers <= room:
            self._ray.shutdown()
            raise ResourceError(
                f"there are CPUs for {room} workers with --threads {threads}, not {self.workers}; ask for "
                "fewer --workers or --threads, or add nodes",
                "no_workers",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def __call__(
        self, parts: Iterator[Part], computed: Callable[[int], None]
    ) -> Iterator[tuple[Part, Sequence[Row]]]:
        """Yield each part with its rows, as `edgeskin.batch.runner.Engine` does.

        Raises:
            SettingError: A worker's edgeskin, OpenVINO or OpenCV is of another version.
            BundleError: A worker cannot open the bundle.
            ResourceError: No worker starts, or all are lost (code ``no_workers``).
        """
        lost: deque[_Piece] = deque()
        # No part is drawn before a worker is idle, so a run that is stopped before has none in progress.
        new = (_Piece(_UnfinishedPart(part), 0, len(part.missing)) for part in parts)
        pool = _Pool(self._ray, self._settings, self._threads, self.workers)
        try:
            while True:
                while pool.idle and (piece := lost.popleft() if lost else next(new, None)):
                    pool.give(piece)
                if not pool.pieces and pool.idle:
                    return
                for piece, rows in pool.finished():
                    if rows is None and piece.losses < MAX_LOSSES:
                        lost.extend(piece.retries())
                        continue
                    piece.unfinished.rows[piece.first : piece.end] = rows or self._failed(piece.photos)
                    computed(len(piece.photos))
                    whole = [row for row in piece.unfinished.rows if row is not None]
                    if len(whole) == len(piece.unfinished.rows):
                        yield piece.unfinished.part, whole
        finally:
            pool.close()

    def _failed(self, photos: Sequence[PhotoRef]) -> list[Row]:
        """The rows of pictures whose workers were lost."""
        reason = PhotoError(
            f"{MAX_LOSSES + 1} workers were lost while they had this picture alone; look at its file, and at "
            "the memory of the nodes",
            "worker_lost",
        )
        return list(assess_part([replace(photo, refusal=reason) for photo in photos], self._settings))


class _Pool:
    """The workers of a run.

    Attributes:
        idle: Workers that wait for pictures.
        pieces: How many pieces workers have.
    """

    def __init__(self, ray: Any, settings: PartSettings, threads: int, workers: int) -> None:
        """Ask for so many workers, which start while others work."""
        self._ray, self._job = ray, _worker_job(settings)
        self._content = pickle.dumps(settings)
        self._actor = ray.remote(Worker).options(num_cpus=threads, scheduling_strategy="SPREAD")
        self._limit = 20 + 2 * workers
        self._losses, self._has_opened = 0, False
        self._running: dict[Any, tuple[Any, _Piece | None]] = {}
        self._waits_since = time.monotonic()
        self.idle: list[Any] = []
        for _ in range(workers):
            self._start()

    @property
    def pieces(self) -> int:
        return sum(piece is not None for _, piece in self._running.values())

    def give(self, piece: _Piece) -> None:
        """Give a piece to an idle worker."""
        worker = self.idle.pop()
        photos = [photo.absolute() for photo in piece.photos]
        self._running[worker.assess.remote(photos)] = worker, piece

    def finished(self) -> Iterator[tuple[_Piece, list[Row] | None]]:
        """Wait a moment for workers, and yield what one finished: a piece with its rows, or None if lost.

        Raises:
            EdgeskinError: As `RayEngine.__call__`.
        """
        done, _ = self._ray.wait(list(self._running), timeout=_LOOK_S)
        if not done and not self.idle and not self.pieces and time.monotonic() > self._waits_since + START_S:
            free = self._ray.available_resources().get("CPU", 0)
            raise ResourceError(
                f"no worker started within {START_S:g} s, and {free:g} CPUs of the cluster are free; end "
                "other jobs, give each its --workers, or look at the logs of the nodes",
                "no_workers",
            )
        for ref in done:
            worker, piece = self._running.pop(ref)
            try:
                value = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                raise _cause(error) from error
            except self._ray.exceptions.RayError as error:
                self._replace(worker, error)
                if piece is not None:
                    yield piece, None
                continue
            self.idle.append(worker)
            self._losses = 0
            if piece is None:
                _require_same(value, self._job)
                self._has_opened = True
            else:
                yield piece, value

    def close(self) -> None:
        """End all workers."""
        for worker in (*self.idle, *(worker for worker, _ in self._running.values())):
            self._ray.kill(worker)

    def _start(self) -> None:
        worker = self._actor.remote()
        self._running[worker.open.remote(self._content)] = worker, None

    def _replace(self, worker: Any, error: Exception) -> None:
        """Start another worker for one that is lost, unless too many were lost in a row."""
        self._losses += 1
        reason = str(error).strip().rpartition("\n")[2].partition(". ")[0]
        if self._losses > (self._limit if self._has_opened else 2):
            raise ResourceError(
                f"{self._losses} workers were lost one after another; the last: {reason}", "no_workers"
            ) from error
        _log.warning("a worker was lost and is replaced: %s", reason)
        self._ray.kill(worker)
        self._waits_since = time.monotonic()
        self._start()


def _import_ray() -> Any:
    """Ray, which sends nobody statistics of its use."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise SettingError('--engine ray needs the extra: pip install "edgeskin[cluster]"') from error
    return ray


def _require_reachable(address: str) -> None:
    """Raise OSError unless something listens at ``host:port``. Ray itself tries for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def _cause(error: Any) -> EdgeskinError:
    """What a worker raised."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, EdgeskinError):
        return cause
    return EdgeskinError(f"a worker failed ({type(cause).__name__}: {cause}); report it", "internal")


def _worker_job(settings: PartSettings) -> dict[str, Any]:
    """The job, which must be the same on all nodes; the CPUs need not be, and each row names its own."""
    job = settings.job(1)
    del job["instruction_set"]
    return job


def _require_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise SettingError unless a worker's rows depend on the same as those of the driver."""
    if found != expected:
        differing = ", ".join(name for name in expected if found.get(name) != expected[name])
        raise SettingError(f"a worker differs in {differing}; install the same versions on all nodes")
