"""How long would a cluster take? A simulation of one driver, many workers and a shared store.

The driver lists pictures, hands every worker one part at a time, keeps the rows of each finished part in its
ledger, and writes one table at the end. It does one thing at a time, in the order in which workers ask. A
worker reads the pictures of its part from the store and assesses them one after another. A lost worker loses
its part, which the next free worker gets.

A part is one event. Reads share the store's bandwidth: the store serves bytes in the order in which parts
were handed out, and a part ends once its pictures are computed and, one picture later, its bytes are read.
That is exact where the store is idle and where it is full; where the workers just fill it, the simulated run
is a few percent too fast.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeskin.arrays import Float64s

BLOCK = 4096
"""Parts whose pictures are drawn at once: memory."""
_FREE, _DONE, _LOST = range(3)
"""Why a worker asks: it has no part, it hands one in, or it is lost with one."""


@dataclass(frozen=True)
class Driver:
    """Seconds that the driver takes, in which it does nothing else.

    Attributes:
        count: A picture, to count it before the first part.
        listing: A picture, to list it and its size and time, and to look for its part in the ledger.
        ledger: A part, to fetch its rows and put them on the disk.
        table: A picture, to read its row again and write it to the table.
    """

    count: float = 0.0
    listing: float = 0.0
    ledger: float = 0.0
    table: float = 0.0


@dataclass(frozen=True)
class Cluster:
    """Workers and the store that they share.

    Attributes:
        workers: Pictures at once.
        start: Seconds until a worker is ready.
        lost_per_hour: Losses in an hour of one worker's work.
        notice: Seconds until the driver knows of a loss; the worker then starts again.
        bytes_per_second: Bandwidth of the store.
        picture_bytes: Size of a picture.
    """

    workers: int
    start: float = 0.0
    lost_per_hour: float = 0.0
    notice: float = 0.0
    bytes_per_second: float = math.inf
    picture_bytes: float = 0.0

    def reading(self, pictures: int) -> float:
        """Seconds to read pictures with the whole bandwidth."""
        return pictures * self.picture_bytes / self.bytes_per_second


@dataclass(frozen=True)
class Outcome:
    """What a simulated run took.

    Attributes:
        seconds: From the first name to the whole table.
        ideal: Seconds if all workers assessed pictures all the time.
        lost: Parts that were lost and done again.
        busy: Shares of the time: in which the mean worker assesses pictures that count, in which the store
            reads, in which the driver lists, keeps parts and writes the table, and until workers are ready.
    """

    seconds: float
    ideal: float
    lost: int
    busy: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """The busiest resource. The driver's three tasks count as one, of which the longest is named."""
        tasks = {name: share for name, share in self.busy.items() if name.startswith("driver")}
        others = {name: share for name, share in self.busy.items() if name not in tasks}
        busiest = max(others, key=others.__getitem__)
        return max(tasks, key=tasks.__getitem__) if sum(tasks.values()) > others[busiest] else busiest


def draw_parts(quantiles: Sequence[float], sizes: Sequence[int], seed: int = 0) -> Float64s:
    """Draw the service times of parts: sums of independent times of pictures.

    Args:
        quantiles: Evenly spaced ones of a picture's time, from the least to the greatest.
        sizes: Pictures of each part.
        seed: Of the random numbers.

    Returns:
        Of shape (parts,), in the unit of the quantiles.
    """
    rng = np.random.default_rng(seed)
    levels = np.linspace(0, 1, len(quantiles))
    most = max(sizes)
    sums = []
    for start in range(0, len(sizes), BLOCK):
        block = np.asarray(sizes[start : start + BLOCK])
        times = np.interp(rng.random((len(block), most)), levels, quantiles)
        sums.append((times * (np.arange(most) < block[:, None])).sum(axis=1))
    return np.concatenate(sums)


def part_sizes(pictures: int, part_size: int) -> list[int]:
    """Pictures of each part."""
    whole, rest = divmod(pictures, part_size)
    return [part_size] * whole + [rest] * bool(rest)


def simulate(
    sizes: Sequence[int], times: Sequence[float], cluster: Cluster, driver: Driver, seed: int = 0
) -> Outcome:
    """Simulate a run.

    Args:
        sizes: Pictures of each part.
        times: Seconds to assess each part, without its reading from the store.
        cluster: Workers and store.
        driver: The driver's times.
        seed: Of the losses.

    Returns:
        What it took.
    """
    pictures = sum(sizes)
    rng = random.Random(seed)
    ready = pictures * driver.count + cluster.start
    # Workers are alike, so an event is a time, why one asks, and its part.
    asking = min(cluster.workers, len(sizes))
    events: list[tuple[float, int, int]] = [(ready, _FREE, -1)] * asking
    idle = cluster.workers - asking
    waiting: deque[int] = deque()
    fresh = lost = 0
    now = finished = stored = read = 0.0
    while events:
        at, kind, part = heapq.heappop(events)
        if kind == _LOST:
            lost += 1
            waiting.append(part)
            heapq.heappush(events, (at + cluster.start, _FREE, -1))
            if idle:
                idle -= 1
                heapq.heappush(events, (at, _FREE, -1))
            continue
        now = max(now, at)
        if kind == _DONE:
            now = finished = now + driver.ledger
        if waiting:
            part = waiting.popleft()
        elif fresh < len(sizes):
            part, fresh = fresh, fresh + 1
            now += sizes[part] * driver.listing
        else:
            idle += 1
            continue
        reading = cluster.reading(sizes[part])
        read += reading
        stored = max(now, stored) + reading
        end = max(now + times[part] + reading, stored + times[part] / sizes[part])
        loss = now + rng.expovariate(cluster.lost_per_hour / 3600) if cluster.lost_per_hour else math.inf
        event = (loss + cluster.notice, _LOST, part) if loss < end else (end, _DONE, part)
        heapq.heappush(events, event)
    seconds = finished + pictures * driver.table
    ideal = float(np.sum(times)) / cluster.workers
    spent = {
        "workers": ideal,
        "store": read,
        "driver: list": pictures * (driver.count + driver.listing),
        "driver: ledger": len(sizes) * driver.ledger,
        "driver: table": pictures * driver.table,
        "start of workers": cluster.start,
    }
    return Outcome(seconds, ideal, lost, {name: time / seconds for name, time in spent.items()})
