"""The bounded queue before the network.

Work waits on the event loop and runs in threads, as many as the network has workers. So the loop stays free
to answer health checks, and work whose time is up while it waits is never started.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from edgeskin.errors import RequestError

T = TypeVar("T")

FIRST_GUESS_S = 0.5
"""Service time until the first one is measured."""
SMOOTHING = 0.2
"""Weight of the latest service time in the running mean."""


class WaitingQueue:
    """Runs work in threads, and refuses work that would wait too long. Use it from one event loop.

    Attributes:
        workers: Threads.
        size: Pieces of work that may wait.
        time_limit_s: Seconds that a request may wait and run.
        busy: Threads that work now.
        service_time_s: Running mean of the seconds that a piece of work takes.
    """

    def __init__(self, workers: int, size: int, time_limit_s: float) -> None:
        """Start without threads. Arguments: as the attributes."""
        self.workers, self.size, self.time_limit_s = workers, size, time_limit_s
        self.busy = 0
        self.service_time_s = FIRST_GUESS_S
        self._waiting: set[asyncio.Task[object]] = set()
        self._free = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="edgeskin-worker")
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Pieces of work that wait for a thread."""
        return len(self._waiting)

    @property
    def retry_after(self) -> int:
        """Seconds until all present work is done, at least 1."""
        rounds = (self.waiting + self.busy) / self.workers
        return max(1, math.ceil(rounds * self.service_time_s))

    def require_room(self, number: int = 1) -> None:
        """Raise RequestError (``queue_full``, ``draining``) unless there is room for this much work."""
        if self._is_closed:
            raise RequestError("the service is stopping; try another one", "draining", self.retry_after)
        if self.waiting + number > self.size + self.workers - self.busy:
            message = f"{self.waiting} pictures are waiting already; try again in some seconds"
            raise RequestError(message, "queue_full", self.retry_after)

    async def run(self, work: Callable[[], T]) -> T:
        """Run one piece of work. See `run_all`."""
        (result,) = await self.run_all([work])
        return result

    async def run_all(self, works: Sequence[Callable[[], T]]) -> list[T]:
        """Run pieces of work, each in the next free thread, and return their results in order.

        Work that has not started when this raises or is cancelled never starts.

        Raises:
            RequestError: There is no room for all of it (``queue_full``), its time is up (``timed_out``), or
                the service is stopping (``draining``).
            Exception: What a piece of work raised.
        """
        self.require_room(len(works))
        tasks = [asyncio.create_task(self._run(work)) for work in works]
        for task in tasks:
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)
        try:
            async with asyncio.timeout(self.time_limit_s) as limit:
                return await asyncio.gather(*tasks)
        except TimeoutError:
            if not limit.expired():
                raise
            raise RequestError(
                f"the answer was not ready within {self.time_limit_s:g} s; try again later",
                "timed_out",
                self.retry_after,
            ) from None
        finally:
            for task in tasks:
                task.cancel()

    def close(self) -> None:
        """Refuse further work. Running work is finished; waiting work is never started."""
        self._is_closed = True
        for task in self._waiting:
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        await self._free.acquire()
        task = asyncio.current_task()
        assert task is not None
        self._waiting.discard(task)
        self.busy += 1
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        is_wanted = True

        def start() -> T:
            if not is_wanted:
                raise asyncio.CancelledError
            return work()

        def leave(_: Future[T]) -> None:
            # Only when the thread is done: it works on even if its request has timed out.
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._leave, time.perf_counter() - started)

        try:
            future = self._threads.submit(start)
        except BaseException:  # no thread could be started, but a later one may still take the work
            is_wanted = False
            self._leave(self.service_time_s)
            raise
        future.add_done_callback(leave)
        return await asyncio.wrap_future(future)

    def _leave(self, seconds: float) -> None:
        self.busy -= 1
        self.service_time_s += SMOOTHING * (seconds - self.service_time_s)
        self._free.release()
