"""The prompt around a note, the same in SFT, GRPO, evaluation and prediction, and the form of the answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deepicd import atomic
from deepicd.errors import UserError
from deepicd.spec.prompt import NOTE, PromptSpec
from deepicd.spec.run import RunSpec
from deepicd.spec.training import GrpoSpec

SYSTEM = (
    "You are given a hospital admission note. Reason about it inside <think> </think>, then give the one "
    "ICD-10-CM code of the principal diagnosis, without its dot, inside <diagnosis> </diagnosis>."
)

THINK = "<think>"
THINK_OPENING = f"{THINK}\n"
"""What opens a trace. The line break keeps the tag's last sign from forming a token with the trace's first word."""
_TEMPLATE_OPENING = "{% if add_generation_prompt %}{{ '<think>\\n' }}{% endif %}"
_THINKING = "{%- set enable_thinking = true %}{%- set thinking = true %}"
"""Switches by which templates let a prompt end in a closed trace."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts of a prompt. `user` contains `{note}` exactly once."""

    user: str
    system: str | None = None

    def messages(self, note: str) -> list[dict[str, str]]:
        """Chat messages for one note. The note is inserted as it is, whatever it contains."""
        before, after = self._around()
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": before + note + after}]

    def note(self, messages: Iterable[Mapping[str, str]]) -> str:
        """The note in messages that this prompt made.

        Raises:
            ValueError: another prompt made them.
        """
        before, after = self._around()
        turns = list(messages)  # the training stack passes arrays, which have no truth value
        content = turns[-1]["content"] if turns else ""
        note = content[len(before) : len(content) - len(after)]
        if turns != self.messages(note):
            raise ValueError("the messages are of another prompt")
        return note

    def _around(self) -> tuple[str, str]:
        before, _, after = self.user.partition(NOTE)
        return before, after


DEEPICD = Prompt(user=NOTE, system=SYSTEM)
"""The preset `deepicd`. The files of a cohort have their notes in this prompt."""
PRESETS = {"deepicd": DEEPICD}


def of(spec: PromptSpec) -> Prompt:
    """The prompt of `model.prompt`."""
    if spec.preset is not None:
        return PRESETS[spec.preset]
    assert spec.user is not None  # noqa: S101 - PromptSpec requires it
    return Prompt(spec.user, spec.system)


def messages(note: str) -> list[dict[str, str]]:
    """Chat messages of the preset `deepicd`, as in the files of a cohort."""
    return DEEPICD.messages(note)


def answer(trace: str, code: str) -> str:
    """The assistant's turn that SFT teaches."""
    return f"{THINK_OPENING}{trace.strip()}</think>\n<diagnosis>{code}</diagnosis>"


def with_opened_think(chat_template: str) -> str:
    """The chat template, with a generation prompt that ends in an opened `<think>`."""
    # Jinja leaves out the line break at a template's end.
    return chat_template.removesuffix("\n") + _TEMPLATE_OPENING


def with_thinking_on(chat_template: str) -> str:
    """The chat template, with its own switches set to let the model think."""
    return _THINKING + chat_template


STORED = "deepicd.json"
"""File in a model's folder that holds its prompt and budgets."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a model is asked: its prompt, and budgets in tokens for the prompt with its note and for the completion."""

    prompt: Prompt = DEEPICD
    max_prompt_tokens: int = 2048
    max_response_tokens: int = 1024

    def store(self, model: Path) -> None:
        """Write this to a file in a model's folder. If a link has the file's name, it is replaced, not followed."""
        atomic.write(model / STORED, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def asked(run: RunSpec) -> Asked:
    """How a run asks its models, in every stage. Without GRPO, the budgets are GRPO's defaults."""
    grpo = run.stages.grpo or GrpoSpec()
    return Asked(of(run.model.prompt), grpo.max_prompt_tokens, grpo.max_response_tokens)


def stored(model: Path) -> Asked | None:
    """The prompt and budgets that the model in a folder was trained with; None if the folder does not have the file.

    Raises:
        UserError: the folder's file is damaged.
    """
    path = model / STORED
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        texts = PromptSpec.model_validate(content["prompt"])
        return Asked(of(texts), int(content["max_prompt_tokens"]), int(content["max_response_tokens"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        raise UserError(f"{path}: is not a stored prompt: copy the model's folder again, or give --prompt") from None
