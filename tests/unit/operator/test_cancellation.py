from __future__ import annotations

import asyncio
from contextlib import suppress

from deepicd_operator.cancellation import cancel_all


def test_a_task_that_misses_its_cancellation_is_cancelled_again() -> None:
    async def deaf_once() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    async def scene() -> None:
        tasks = [asyncio.create_task(deaf_once()), asyncio.create_task(asyncio.sleep(3600))]
        await asyncio.sleep(0)
        await asyncio.wait_for(cancel_all(*tasks), 10)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(scene())
