"""The bounded queue: who waits, who is refused, and what never runs."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from edgeskin.errors import RequestError
from edgeskin.service.waiting_queue import WaitingQueue


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """Work that waits for this event ends with the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_results_come_in_order_and_from_threads() -> None:
    async def test() -> None:
        queue = WaitingQueue(2, 8, 30)
        assert await queue.run_all([partial(pow, 2, power) for power in range(8)]) == [
            1, 2, 4, 8, 16, 32, 64, 128,
        ]  # fmt: skip
        assert await queue.run(threading.current_thread) is not threading.main_thread()

    run(test)


def test_what_work_raises_is_raised() -> None:
    async def test() -> None:
        queue = WaitingQueue(1, 8, 30)
        for error in (ValueError("one"), TimeoutError("of the work itself")):

            def fail(error: Exception = error) -> None:
                raise error

            with pytest.raises(type(error)) as caught:
                await queue.run(fail)
            assert caught.value.args == error.args
        assert await queue.run(lambda: 1) == 1
        await until(lambda: queue.busy == 0)

    run(test)


def test_a_full_queue_refuses_and_has_room_again(held: threading.Event) -> None:
    """1 works and 2 wait; the fourth is refused, and so is a batch of 3 beside one that works."""

    async def test() -> None:
        queue = WaitingQueue(1, 2, 30)
        first = asyncio.create_task(queue.run(held.wait))
        await until(lambda: queue.busy == 1)
        with pytest.raises(RequestError) as batch:
            await queue.run_all([held.wait] * 3)
        assert batch.value.code == "queue_full"
        assert (queue.busy, queue.waiting) == (1, 0)
        others = [asyncio.create_task(queue.run(held.wait)) for _ in range(2)]
        await until(lambda: queue.waiting == 2)
        with pytest.raises(RequestError) as single:
            await queue.run(held.wait)
        assert single.value.code == "queue_full"
        assert single.value.retry_after is not None
        held.set()
        await asyncio.gather(first, *others)
        await until(lambda: queue.busy == 0)
        assert await queue.run_all([lambda: 1] * 3) == [1] * 3

    run(test)


def test_retry_after_is_the_time_of_what_is_here(held: threading.Event) -> None:
    """By hand: 5 pieces of work, 2 workers, 3 s each: 7.5 s, rounded up."""

    async def test() -> None:
        queue = WaitingQueue(2, 8, 30)
        queue.service_time_s = 3.0
        assert queue.retry_after == 1
        tasks = [asyncio.create_task(queue.run(held.wait)) for _ in range(5)]
        await until(lambda: (queue.busy, queue.waiting) == (2, 3))
        assert queue.retry_after == 8
        held.set()
        await asyncio.gather(*tasks)

    run(test)


def test_the_service_time_is_measured() -> None:
    """Work that takes no time pulls the running mean down: 0.8 of it stays each time."""

    async def test() -> None:
        queue = WaitingQueue(1, 8, 30)
        queue.service_time_s = 10.0
        await queue.run(lambda: None)
        await until(lambda: queue.busy == 0)
        assert 8.0 <= queue.service_time_s < 9.0

    run(test)


def test_work_whose_time_is_up_while_it_waits_never_runs(held: threading.Event) -> None:
    async def test() -> None:
        queue, ran = WaitingQueue(1, 8, 0.05), []
        first = asyncio.create_task(queue.run(held.wait))
        await until(lambda: queue.busy == 1)
        with pytest.raises(RequestError) as waited:
            await queue.run(lambda: ran.append(1))
        with pytest.raises(RequestError) as worked:
            await first
        assert (waited.value.code, worked.value.code) == ("timed_out", "timed_out")
        # The thread of the first works on, and its place is not given to another before it is done.
        assert (queue.busy, queue.waiting) == (1, 0)
        held.set()
        await until(lambda: queue.busy == 0)
        assert await queue.run(lambda: 2) == 2
        assert ran == []

    run(test)


def test_work_of_a_cancelled_request_never_runs(held: threading.Event) -> None:
    async def test() -> None:
        queue, ran = WaitingQueue(1, 8, 30), []
        first = asyncio.create_task(queue.run(held.wait))
        await until(lambda: queue.busy == 1)
        second = asyncio.create_task(queue.run_all([lambda: ran.append(1)] * 3))
        await until(lambda: queue.waiting == 3)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await until(lambda: queue.waiting == 0)
        held.set()
        await first
        assert await queue.run(lambda: 2) == 2
        assert ran == []

    run(test)


def test_a_thread_that_cannot_be_started_costs_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no further thread once; the work that failed does not run later."""

    async def test() -> None:
        queue, ran = WaitingQueue(1, 8, 5), []

        def fail(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fail)
            with pytest.raises(RuntimeError):
                await queue.run(lambda: ran.append(1))
        assert (queue.busy, queue.waiting) == (0, 0)
        assert await queue.run(lambda: 2) == 2
        assert ran == []

    run(test)


def test_one_failure_of_several_stops_those_that_wait(held: threading.Event) -> None:
    async def test() -> None:
        queue, ran = WaitingQueue(1, 8, 30), []

        def fail() -> None:
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011
            await queue.run_all([fail, *[lambda: ran.append(1)] * 4])
        await until(lambda: queue.waiting == 0 and queue.busy == 0)
        assert len(ran) <= 1  # the next one may have started

    run(test)


def test_a_closed_queue_takes_nothing(held: threading.Event) -> None:
    async def test() -> None:
        queue = WaitingQueue(1, 8, 30)
        first = asyncio.create_task(queue.run(held.wait))
        await until(lambda: queue.busy == 1)
        queue.close()
        with pytest.raises(RequestError) as caught:
            await queue.run(lambda: 1)
        assert caught.value.code == "draining"
        held.set()
        assert await first

    run(test)
