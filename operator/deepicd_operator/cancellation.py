"""Cancelling asyncio tasks."""

from __future__ import annotations

import asyncio
from typing import Any


async def cancel_all(*tasks: asyncio.Task[Any]) -> None:
    """Cancel all tasks and waits until they have ended.

    A task can miss its cancellation if a response or timeout arrives at that moment, so it is cancelled repeatedly.
    """
    waiting = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=1)
