"""Many photos at once in threads, answered in their order and in bounded memory."""

import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Photo = TypeVar("Photo")
Answer = TypeVar("Answer")
AHEAD = 2
"""Photos for each thread that are taken ahead, so that none waits for the next photo."""


def in_order(photos: Iterable[Photo], assess: Callable[[Photo], Answer], workers: int) -> Iterator[Answer]:
    """Assess photos by so many threads; by the caller's own if it is one.

    Args:
        photos: Taken as they are needed.
        assess: Called once a photo.
        workers: Number of threads.

    Yields:
        An answer for each photo, in their order.
    """
    if workers == 1:
        yield from map(assess, photos)
        return
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for photo in photos:
                waiting.append(pool.submit(assess, photo))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


async def in_order_async(
    photos: AsyncIterable[Photo] | Iterable[Photo], assess: Callable[[Photo], Answer], workers: int
) -> AsyncIterator[Answer]:
    """Do as `in_order`, always in threads, while the event loop goes on.

    A plain iterable is taken from in a thread of its own, as it may wait for files.
    """
    import asyncio  # only here: it takes longer to load than the rest of this package's own modules

    loop = asyncio.get_running_loop()
    waiting: deque[asyncio.Future[Answer]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        async with contextlib.aclosing(_each(photos)) as taken:
            async for photo in taken:
                waiting.append(loop.run_in_executor(pool, assess, photo))
                if len(waiting) > AHEAD * workers:
                    yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _each(photos: AsyncIterable[Photo] | Iterable[Photo]) -> AsyncGenerator[Photo, None]:
    import asyncio

    if isinstance(photos, AsyncIterable):
        async for photo in photos:
            yield photo
        return
    remaining = iter(photos)

    def take() -> list[Photo]:
        return list(itertools.islice(remaining, 1))

    loop, taker = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    try:
        while taken := await loop.run_in_executor(taker, take):
            yield taken[0]
    finally:
        taker.shutdown(wait=False, cancel_futures=True)
