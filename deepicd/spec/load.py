"""Read and write run.yaml; every mistake becomes one line that names the field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from deepicd.errors import UserError
from deepicd.spec.base import RULE, UNKNOWN_FIELD, SpecModel
from deepicd.spec.json_values import kind
from deepicd.spec.prompt import PromptSpec
from deepicd.spec.run import DeepICDRun
from deepicd.spec.wording import expected

M = TypeVar("M", bound=SpecModel)


class UnknownFieldError(UserError):
    """The file has a field that this version does not know, and may break the schema in other fields too."""


def load(path: Path) -> DeepICDRun:
    """Read run.yaml.

    Raises:
        UserError: the file is missing, is not YAML, or breaks the schema; the message names each field at fault.
    """
    return parse(read_run(path), str(path))


def read_run(path: Path) -> Any:
    """Content of a run.yaml as it was written, but with the texts of its prompt files instead of the files' paths.

    Raises:
        UserError: a file is missing, or is not YAML; a prompt file holds no prompt.
    """
    content = read_yaml(path)
    match content:
        case {"spec": {"model": dict(model)}}:
            _read_prompt_of(model, path.parent)
    match content:
        case {"spec": {"stages": {"evaluate": {"models": dict(models)}}}}:
            for model in models.values():
                _read_prompt_of(model, path.parent)
    return content


def _read_prompt_of(model: Any, folder: Path) -> None:
    """Replace a model's prompt file, if it names only that, by its texts."""
    match model:
        case {"prompt": {"file": str(file)} as prompt} if len(prompt) == 1:
            model["prompt"] = read_prompt(folder / file).model_dump(exclude_none=True)


def read_prompt(path: Path) -> PromptSpec:
    """Read a prompt file: YAML with `user`, and with or without `system`.

    Raises:
        UserError: the file is missing, is not YAML, or is not a prompt.
    """
    content = read_yaml(path, "prompt file")
    if not isinstance(content, dict) or "user" not in content:
        raise UserError(f"{path}: user: is missing: give the user's turn, with {{note}} where the note goes")
    return _part(path, PromptSpec, content, "prompt")


def read_part(path: Path, model: type[M], called: str) -> M:
    """Read a YAML file that holds one model; `called` is what messages call the file.

    Raises:
        UserError: the file is missing, is not YAML, or is not what the model describes.
    """
    content = read_yaml(path, called)
    if not isinstance(content, dict):
        raise UserError(f"{path}: is {'empty' if content is None else kind(content)}: give the path of a {called}")
    return _part(path, model, content, called)


def _part(path: Path, model: type[M], content: Any, whole: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [line for item in error.errors(include_url=False) for line in _problems(item, whole)]
        raise UserError(*(f"{path}: {problem}" for problem in problems)) from None


class _TwiceError(Exception):
    """A mapping has a key twice: YAML's readers take the last value in silence."""


class _Loader(yaml.SafeLoader):
    """A SafeLoader that refuses a key given twice."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _TwiceError(
                    f"line {line}: {key.value!r} is given twice, first in line {lines[key.value]}: keep one of them"
                )
            lines[key.value] = line
        return node


def read_yaml(path: Path, called: str = "run.yaml") -> Any:
    """Content of a YAML file, as it was written.

    Raises:
        UserError: the file is missing, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise UserError(f"{path}: {reason}: give the path of a {called}") from None
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except _TwiceError as error:
        raise UserError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        raise UserError(f"{path}:{where} is not YAML: {getattr(error, 'problem', None) or 'fix the file'}") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deep: make it flatter") from None


def parse(content: Any, source: str) -> DeepICDRun:
    """Check the content of a run.yaml; `source` is what error messages call it.

    Raises:
        UnknownFieldError: it has a field that is not known.
        UserError: it breaks the schema otherwise.
    """
    if not isinstance(content, dict):
        raise UserError(
            f"{source}: is {'empty' if content is None else kind(content)}: start with 'apiVersion: deepicd.io/v1alpha1'"
        )
    try:
        return DeepICDRun.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        refused = UnknownFieldError if any(item["type"] == UNKNOWN_FIELD for item in found) else UserError
        raise refused(*(f"{source}: {problem}" for item in found for problem in _problems(item))) from None


def _problems(error: Any, whole: str = "run") -> list[str]:
    field = ".".join(str(part) for part in error["loc"]) or whole
    if error["type"] == RULE:
        return [_below(field, message) for message in error["ctx"]["broken"]]
    if error["loc"] and error["loc"][-1] == "[key]":
        return [f"{field.removesuffix('.[key]')}: its name {expected(error)}"]
    if error["type"] == "value_error":
        return [_below(field, expected(error))]
    return [f"{field}: {expected(error)}"]


def _below(section: str, message: str) -> str:
    """A message about a section with the path of its field, or of the section if it names none or several."""
    if not re.match(r"[\w.]+: ", message):
        return f"{section}: {message}"
    return message if section == "run" else f"{section}.{message}"


# The faster C library's, if PyYAML has it: the operator writes every run that it starts.
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def dump(run: DeepICDRun) -> str:
    """Write the run with every default filled in, as YAML."""
    content = run.model_dump(by_alias=True, mode="json")
    return yaml.dump(content, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)


class _Schema(GenerateJsonSchema):
    """With defaults as run.yaml writes them: `30m`, `16Gi`."""

    def default_schema(self, schema: WithDefaultSchema) -> dict[str, Any]:
        found = super().default_schema(schema)
        inner: Any = schema
        while (inner := inner.get("schema")) is not None:
            written = inner.get("serialization", {})
            if written.get("type") == "function-plain" and found.get("default") is not None:
                found["default"] = written["function"](schema["default"])
                break
        return found


def json_schema() -> dict[str, Any]:
    """JSON Schema of run.yaml, for editors."""
    schema = DeepICDRun.model_json_schema(by_alias=True, schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
