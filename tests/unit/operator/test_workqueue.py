from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from deepicd_operator.cache import Key
from deepicd_operator.workqueue import HEAD_START, WorkQueue

A, B = Key("research", "a"), Key("research", "b")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def played(scene: Callable[[WorkQueue, Clock], Coroutine[Any, Any, None]]) -> None:
    async def play() -> None:
        clock = Clock()
        await asyncio.wait_for(scene(WorkQueue(clock), clock), 60)

    asyncio.run(play())


async def nothing_comes(queue: WorkQueue) -> bool:
    task = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waits = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return waits


def test_the_run_that_is_due_first_comes_first() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A, 2)
        queue.add(B, 1)
        clock.now = 3
        assert [await queue.get(), await queue.get()] == [B, A]

    played(scene)


def test_a_run_with_a_head_start_comes_before_others_that_have_been_due_for_less_than_that() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        clock.now = HEAD_START - 1
        queue.add(B, first=True)
        assert [await queue.get(), await queue.get()] == [B, A]
        queue.done(A)
        queue.done(B)
        queue.add(A)
        clock.now += HEAD_START + 1
        queue.add(B, first=True)
        assert [await queue.get(), await queue.get()] == [A, B]

    played(scene)


def test_a_head_start_survives_another_request_and_ends_with_its_turn() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        queue.add(B, first=True)
        queue.add(B)
        assert [await queue.get(), await queue.get()] == [B, A]
        queue.done(A)
        queue.done(B)
        queue.add(A)
        clock.now = 1
        queue.add(B)
        assert await queue.get() == A

    played(scene)


def test_a_run_that_is_added_twice_comes_once_at_the_earlier_time() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A, 60)
        queue.add(A)
        queue.add(A, 5)
        assert await queue.get() == A
        queue.done(A)
        clock.now = 100
        assert await nothing_comes(queue)

    played(scene)


def test_a_run_is_never_given_to_two_workers_and_comes_again_when_it_is_free() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        assert await queue.get() == A
        queue.add(A)
        assert await nothing_comes(queue)
        queue.done(A)
        assert await queue.get() == A

    played(scene)


def test_a_run_being_processed_does_not_block_the_others() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        await queue.get()
        queue.add(A)
        queue.add(B)
        assert await queue.get() == B

    played(scene)


def test_age_and_depth_count_what_is_due() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A)
        queue.add(B, 50)
        clock.now = 7
        assert (queue.age, queue.depth) == (7, 1)

    played(scene)


def test_a_worker_that_is_woken_and_cancelled_at_the_same_time_ends() -> None:
    async def scene(queue: WorkQueue, clock: Clock) -> None:
        queue.add(A, 1000)
        task = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        queue.add(B, 1000)
        task.cancel()
        await asyncio.wait({task}, timeout=30)
        assert task.cancelled()

    played(scene)
