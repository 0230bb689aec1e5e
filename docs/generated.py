"""Pages that are made when the site is built: run.yaml field by field, the commands, a page for each reason, the decisions.

A hook of mkdocs. What is made here cannot be out of date: it comes from the code that does the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from deepicd.cli.main import cli
from deepicd_operator.crd import crd
from deepicd_operator.reasons import EXPLANATIONS, Reason, Rule

Schema = dict[str, Any]
DOCS = Path(__file__).parent
RULES = {
    Rule.GO_ON: "Nothing: nothing is wrong.",
    Rule.WAIT: "Keeps the attempt, and goes on by itself once the cause is gone.",
    Rule.RETRY: "Begins a new attempt from the last verified checkpoint, after `recovery.backoff`. "
    "The ended one counts towards `recovery.maxAttempts`.",
    Rule.RETRY_FREE: "Begins a new attempt from the last verified checkpoint, at once. "
    "The cluster took the ended one: it does not count.",
    Rule.STOP: "Ends the run: a new attempt would meet the same cause. What is in the store stays.",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages; a reason's own notes, where there are any, are part of its page."""
    pages = {
        "reference/run-yaml.md": run_yaml(),
        "reference/commands.md": commands(),
        "reasons/index.md": reasons(),
        "adr/index.md": decisions(),
        **{f"reasons/{reason}.md": reason_page(reason) for reason in Reason},
    }
    for path, text in pages.items():
        if (written := files.get_file_from_path(path)) is not None:
            files.remove(written)
        files.append(File.generated(config, path, content=text))
    return files


def reasons() -> str:
    """Table of all reasons."""
    rows = [f"| [{each}]({each}.md) | {found.rule} | {found.meaning} |" for each, found in EXPLANATIONS.items()]
    head = (
        "# Reasons\nEvery condition, event and ended attempt of a run has one of these reasons. "
        "`kubectl describe deepicdrun RUN` and `deepicd status RUN` show it with what was found and the remedy.\n\n"
        "| reason | the operator | meaning |\n|---|---|---|"
    )
    return "\n".join([head, *rows, ""])


def reason_page(reason: Reason) -> str:
    """Meaning, rule and remedy of a reason, then the notes that were written about it."""
    found = EXPLANATIONS[reason]
    remedy = f"**What to do:** {found.remedy}.\n" if found.remedy else ""
    notes = DOCS / "reasons" / f"{reason}.md"
    own = notes.read_text(encoding="utf-8") if notes.exists() else ""
    meaning = found.meaning[0].upper() + found.meaning[1:]
    head = f"# {reason}\n{meaning}.\n\n**What the operator does:** {RULES[found.rule]}\n"
    return f"{head}\n{remedy}\n{own}\n[All reasons](index.md)\n"


def run_yaml() -> str:
    """A table for each part of the spec."""
    spec: Schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    head = (
        "# run.yaml\n`apiVersion: deepicd.io/v1alpha1`, `kind: DeepICDRun`, `metadata.name`, and `spec`, of which every field "
        "follows. `deepicd validate run.yaml` and the API server refuse the same files.\n"
    )
    return head + "".join(_section("spec", spec))


def _section(path: str, schema: Schema) -> Iterator[str]:
    if path != "spec":
        yield f"\n## {path.removeprefix('spec.')}\n"
        yield f"{_line(schema.get('description', ''))}\n"
    rules = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    required = schema.get("required", [])
    yield "\n| field | type | default | meaning |\n|---|---|---|---|\n"
    inner: list[tuple[str, Schema]] = []
    for name, field in schema["properties"].items():
        below = next((part for part in (field, field.get("items", {})) if "properties" in part), None)
        where = f"{path}.{name}{'[]' if below is not None and below is not field else ''}"
        shown = f"[`{name}`](#{_anchor(where)})" if below else f"`{name}`"
        yield f"| {shown} | {_type(field)} | {_default(name, field, required)} | {_line(field.get('description', ''))} |\n"
        if below is not None:
            inner.append((where, below))
    if rules:
        yield "\nChecked:\n\n" + "".join(f"- {_line(rule)}\n" for rule in rules)
    for where, below in inner:
        yield from _section(where, below)


def _anchor(path: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", path.removeprefix("spec.").lower())


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"] if each is not None)
    if re.fullmatch(r"\^\(\w+(\|\w+)*\)\$", field.get("pattern", "")):
        return ", ".join(f"`{each}`" for each in field["pattern"][2:-2].split("|"))
    kind = "integer or text" if field.get("x-kubernetes-int-or-string") else field.get("type", "any")
    kind = {"string": "text", "array": "list", "object": "map"}.get(kind, kind)
    low, high = field.get("minimum"), field.get("maximum")
    low_sign, high_sign = ("&gt;" if field.get("exclusiveMinimum") else "≥"), ("&lt;" if field.get("exclusiveMaximum") else "≤")
    bounds = [f"{low_sign} {low:g}" if low is not None else "", f"{high_sign} {high:,}" if high is not None else ""]
    return " ".join(part for part in (kind, ", ".join(each for each in bounds if each)) if part)


def _default(name: str, field: Schema, required: list[str]) -> str:
    if name in required:
        return "required"
    value = field.get("default")
    if value is None or isinstance(value, dict):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`" if value != [] else ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def commands() -> str:
    """Every command with its options."""
    head = "# Commands\n`deepicd --help` says the same. Errors are one line; exit code 64 is for what you can mend.\n"
    return head + "".join(_command(get_command(cli), "deepicd"))


def _command(command: Any, path: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for name in command.list_commands(typer.Context(command, info_name=path)):
            yield from _command(command.commands[name], f"{path} {name}")
        return
    yield f"\n## {path}\n{(command.help or '').strip()}\n"
    if command.params:
        yield "\n| argument or option | default | meaning |\n|---|---|---|\n"
    for each in command.params:
        names = each.name.upper() if isinstance(each, TyperArgument) else "`, `".join(each.opts)
        yield f"| `{names}` | {_shown_default(each)} | {_line(each.help or '')} |\n"


def _shown_default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    return "" if callable(parameter.default) or parameter.default in (None, False, [], ()) else f"`{parameter.default}`"


def decisions() -> str:
    """The list of decisions."""
    rows = []
    for path in sorted((DOCS / "adr").glob("*.md")):
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        rows.append(f"- [{title}]({path.name})")
    return "# Decisions\nWhat was chosen and why, and what was tried and did not hold.\n\n" + "\n".join(rows) + "\n"
