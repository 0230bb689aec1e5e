"""Views of runs on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from deepicd.cli.stage_view import show_number, show_seconds, words_of
from deepicd.spec.progress import Diagnostics, LevelMetrics

Raw = dict[str, Any]

_STATES = ("Running", "Pending", "Suspended", "Failed", "Succeeded")
"""In the order of the table: active runs first."""
_COLUMNS = ("NAME", "STATE", "REASON", "STAGE", "STEP", "REWARD", "KL", "F1", "ATTEMPT", "ETA", "AGE")
_DISPENSABLE = ("KL", "F1", "ATTEMPT", "REWARD", "ETA", "AGE")
"""The columns that a narrow terminal drops, first to last."""
_WORTH_A_MESSAGE: dict[str, tuple[str, ...]] = {
    "Accepted": ("False",), "Scheduled": ("False",), "Running": ("False",), "CheckpointDurable": ("False",),
    "StepsStalled": ("True", "Unknown"), "RewardCollapsed": ("True",), "JudgeDiverged": ("True",),
    "Failed": ("True",),
}  # fmt: skip
"""The statuses of a condition that mean that something is missing or wrong."""


def table_of(runs: Sequence[Raw]) -> RenderableType:
    """The runs of a namespace, a row each, active ones first; a narrow terminal gets fewer columns."""
    if not runs:
        return Text("no runs in this namespace: 'deepicd submit run.yaml' starts one")
    return _Fitting([_row(run) for run in sorted(runs, key=_rank)])


class _Fitting:
    """The table with the columns that fit the terminal."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns, dispensable = list(_COLUMNS), list(_DISPENSABLE)
        table = self._table(columns)
        while dispensable and Measurement.get(console, options.update(width=1000), table).maximum > options.max_width:
            columns.remove(dispensable.pop(0))
            table = self._table(columns)
        yield table

    def _table(self, columns: Iterable[str]) -> Table:
        table = _table(*columns)
        for row in self._rows:
            table.add_row(*(row[name] for name in columns))
        return table


def _rank(run: Raw) -> tuple[int, str]:
    state = _status(run).get("state")
    return (_STATES.index(state) if state in _STATES else _STATES.index("Pending")), run["metadata"]["name"]


def _row(run: Raw) -> dict[str, str]:
    status, columns = _status(run), _status(run).get("columns") or {}
    state, reason = status.get("state", ""), status.get("reason", "")
    values = (
        run["metadata"]["name"], state, "" if reason == state else reason, status.get("stage", ""),
        *(columns.get(name, "") for name in ("step", "reward", "kl", "f1Category")),
        str(status.get("attempt") or ""), columns.get("eta", ""), show_age(run["metadata"]["creationTimestamp"]),
    )  # fmt: skip
    return dict(zip(_COLUMNS, values, strict=True))


def one_run(run: Raw) -> RenderableType:
    """The details of one run; each message once."""
    status = _status(run)
    shown = {""}
    parts: list[RenderableType] = [Text(f"{run['metadata']['name']}: {news(run)}", style="bold")]
    parts += _messages([("", message(status))], shown)
    parts += _section(_facts(status), [])
    parts += _section(_attempts(status), _messages(_of_attempts(status), shown))
    parts += _section(_conditions(status), _messages(_of_conditions(status), shown))
    return Group(*parts)


def news(run: Raw) -> str:
    """One line: state, reason and progress."""
    status = _status(run)
    if status.get("observedGeneration", -1) < 0:
        return "not seen by the operator yet: is it installed and serving this namespace?"
    columns = status.get("columns") or {}
    head = status.get("state", "")
    if (reason := status.get("reason", "")) and reason != head:
        head += f" ({reason})"
    facts = [head, f"attempt {status['attempt']}" if status.get("attempt") else ""]
    if status.get("stage"):
        facts.append(f"{status['stage']} {columns.get('step', '')}".strip())
    return ", ".join(fact for fact in facts if fact)


def message(status: Raw) -> str:
    """What the run's reason means, and the remedy: the message of a condition with that reason, or an empty text."""
    reason = status.get("reason")
    if not reason or reason == status.get("state"):
        return ""
    found = (each.get("message", "") for each in status.get("conditions") or () if each["reason"] == reason)
    return next((text for text in found if text), "")


def _facts(status: Raw) -> Table:
    columns, metrics = status.get("columns") or {}, status.get("metrics") or {}
    checkpoint = status.get("lastVerifiedCheckpoint") or {}
    f1 = ", ".join(f"{level} {show_number(metrics[level])}" for level in LevelMetrics.model_fields if level in metrics)
    cost = f", cost {status['cost']:.2f}" if "cost" in status else ""
    known = words_of(Diagnostics.model_validate(status.get("diagnostics") or {}))
    rows = (
        ("reward", columns.get("reward", "")),
        ("KL", columns.get("kl", "")),
        ("diagnostics", ", ".join(f"{name} {text}" for name, text in known.items() if text)),
        ("ETA", columns.get("eta", "")),
        ("macro F1", f1),
        ("checkpoint", f"{checkpoint['stage']} step {checkpoint['step']}\n{checkpoint['uri']}" if checkpoint else ""),
        ("GPU-hours", f"{columns.get('gpuHours', '')}{cost}" if columns.get("gpuHours") else ""),
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in rows:
        if value:
            table.add_row(name, Text(value, overflow="fold"))
    return table


def _attempts(status: Raw) -> Table:
    table = _table("ATTEMPT", "REASON", "EXIT", "TIME", "NODE")
    if earlier := (status.get("earlier") or {}).get("attempts"):
        table.add_row(f"1 to {earlier}", "", "", show_seconds(status["earlier"].get("seconds")), "")
    for each in status.get("attempts") or ():
        reason = each.get("reason") or ("" if each.get("end") else status.get("reason", ""))
        table.add_row(
            str(each["number"]), reason, str(each.get("exitCode", "")), _between(each.get("start"), each.get("end")),
            each.get("node", ""),
        )  # fmt: skip
    return table


def _of_attempts(status: Raw) -> Iterable[tuple[str, str]]:
    """The attempts' messages, newest first: of equal ones the newest is shown."""
    for each in reversed(status.get("attempts") or ()):
        yield f"{each['number']}: ", each.get("message", "")


def _conditions(status: Raw) -> Table:
    table = _table("CONDITION", "STATUS", "REASON", "SINCE")
    for each in status.get("conditions") or ():
        since = each.get("lastTransitionTime")
        table.add_row(each["type"], each["status"], each["reason"], show_age(since) if since else "")
    return table


def _of_conditions(status: Raw) -> Iterable[tuple[str, str]]:
    for each in status.get("conditions") or ():
        if each["status"] in _WORTH_A_MESSAGE.get(each["type"], ()):
            yield f"{each['type']}: ", each.get("message", "")


def _messages(found: Iterable[tuple[str, str]], shown: set[str]) -> list[RenderableType]:
    """The messages that are not shown yet, after their names."""
    parts: list[RenderableType] = []
    for name, text in found:
        if text and text not in shown:
            parts.append(Padding(Text(name + text), (0, 0, 0, 2)))
            shown.add(text)
    return parts


def _section(table: Table, messages: Sequence[RenderableType]) -> list[RenderableType]:
    return [Text(), table, *messages] if table.row_count else []


def show_age(then: str) -> str:
    """Time since `then`, as `2h05m`, or `3d04h`."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(then)).total_seconds()
    days, rest = divmod(int(seconds), 86400)
    return f"{days}d{rest // 3600:02}h" if days > 0 else show_seconds(seconds)


def _between(start: str | None, end: str | None) -> str:
    if start is None:
        return ""
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return show_seconds((until - datetime.fromisoformat(start)).total_seconds())


def _status(run: Raw) -> Raw:
    return run.get("status") or {}


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table
