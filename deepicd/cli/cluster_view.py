"""How a run on a cluster is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepicd.cli.progress import show_number, show_seconds

Raw = dict[str, Any]


def table_of(runs: list[Raw]) -> RenderableType:
    """The runs of a namespace, a row each."""
    if not runs:
        return Text("no runs in this namespace: 'deepicd submit run.yaml' starts one")
    table = _table("NAME", "STATE", "STAGE", "STEP", "REWARD", "KL", "F1", "ATTEMPT", "ETA", "AGE")
    for run in runs:
        status, columns = _status(run), _status(run).get("columns") or {}
        table.add_row(
            run["metadata"]["name"], status.get("state", ""), status.get("stage", ""),
            *(columns.get(name, "") for name in ("step", "reward", "kl", "f1Category")),
            str(status.get("attempt") or ""), columns.get("eta", ""), show_age(run["metadata"]["creationTimestamp"]),
        )  # fmt: skip
    return table


def one_run(run: Raw) -> RenderableType:
    """Everything that matters of one run."""
    status = _status(run)
    parts: list[RenderableType] = [Text(f"{run['metadata']['name']}: {news(run)}", style="bold"), _facts(status)]
    conditions = _table("CONDITION", "STATUS", "REASON", "MESSAGE")
    conditions.columns[-1].no_wrap = False
    for each in status.get("conditions") or ():
        conditions.add_row(each["type"], each["status"], each["reason"], each.get("message", ""))
    attempts = _table("ATTEMPT", "REASON", "EXIT", "NODE", "TIME", "MESSAGE")
    attempts.columns[-1].no_wrap = False
    for each in status.get("attempts") or ():
        attempts.add_row(
            str(each["number"]), each.get("reason", ""), str(each.get("exitCode", "")), each.get("node", ""),
            _between(each.get("start"), each.get("end")), each.get("message", ""),
        )  # fmt: skip
    for table in (conditions, attempts):
        parts += [Text(), table] if table.row_count else []
    return Group(*parts)


def news(run: Raw) -> str:
    """One line: state, reason, and how far it is."""
    status = _status(run)
    if not status:
        return "not seen by the operator yet: is it installed and serving this namespace?"
    columns = status.get("columns") or {}
    head = status.get("state", "")
    if (reason := status.get("reason", "")) and reason != head:
        head += f" ({reason})"
    facts = [head, f"attempt {status['attempt']}" if status.get("attempt") else ""]
    if status.get("stage"):
        facts.append(f"{status['stage']} {columns.get('step', '')}".strip())
    return ", ".join(fact for fact in facts if fact)


def _facts(status: Raw) -> RenderableType:
    columns, metrics = status.get("columns") or {}, status.get("metrics") or {}
    checkpoint = status.get("lastVerifiedCheckpoint") or {}
    f1 = ", ".join(f"{level} {show_number(metrics[level])}" for level in ("chapter", "category", "code") if level in metrics)
    cost = f", cost {status['cost']:.2f}" if "cost" in status else ""
    rows = (
        ("reward", columns.get("reward", "")),
        ("KL", columns.get("kl", "")),
        ("ETA", columns.get("eta", "")),
        ("macro F1", f1),
        ("checkpoint", f"{checkpoint['stage']} step {checkpoint['step']}  {checkpoint['uri']}" if checkpoint else ""),
        ("GPU-hours", f"{columns.get('gpuHours', '')}{cost}" if columns.get("gpuHours") else ""),
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in rows:
        if value:
            table.add_row(name, Text(value, overflow="fold"))
    return table


def show_age(then: str) -> str:
    """Time since `then`, as `2h05m`."""
    return show_seconds((datetime.now(UTC) - datetime.fromisoformat(then)).total_seconds())


def _between(start: str | None, end: str | None) -> str:
    if start is None:
        return ""
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return show_seconds((until - datetime.fromisoformat(start)).total_seconds())


def _status(run: Raw) -> Raw:
    return run.get("status") or {}


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))  # a row with all numbers fits 80 columns
    for name in columns:
        table.add_column(name, no_wrap=True)
    return table
