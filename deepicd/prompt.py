"""What a model is asked about a note, the same in SFT, GRPO, evaluation and prediction; and the form of its answer."""

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

THINK_OPENING = "<think>"
_TEMPLATE_OPENING = "{%- if add_generation_prompt %}{{- '" + THINK_OPENING + "' }}{%- endif %}"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The texts of a prompt; `user` has `{note}` once."""

    user: str
    system: str | None = None

    def messages(self, note: str) -> list[dict[str, str]]:
        """Chat messages for one note; nothing in the note is taken for a part of the prompt."""
        before, after = self._around()
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": before + note + after}]

    def note(self, messages: Iterable[Mapping[str, str]]) -> str:
        """The note of such messages.

        Raises:
            ValueError: they are another prompt's.
        """
        before, after = self._around()
        turns = list(messages)  # the training stack hands over arrays, which have no truth value
        content = turns[-1]["content"] if turns else ""
        note = content[len(before) : len(content) - len(after)]
        if turns != self.messages(note):
            raise ValueError("the messages are of another prompt")
        return note

    def _around(self) -> tuple[str, str]:
        before, _, after = self.user.partition(NOTE)
        return before, after


DEEPICD = Prompt(user=NOTE, system=SYSTEM)
"""The preset `deepicd`, in which the files of a cohort have their notes."""
PRESETS = {"deepicd": DEEPICD}


def of(spec: PromptSpec) -> Prompt:
    """The texts that `model.prompt` stands for."""
    if spec.preset is not None:
        return PRESETS[spec.preset]
    assert spec.user is not None  # noqa: S101 - PromptSpec sees to it
    return Prompt(spec.user, spec.system)


def messages(note: str) -> list[dict[str, str]]:
    """Chat messages of the preset `deepicd`, as the files of a cohort have them."""
    return DEEPICD.messages(note)


def answer(trace: str, code: str) -> str:
    """The assistant's turn that SFT teaches."""
    return f"{THINK_OPENING}{trace}</think>\n<diagnosis>{code}</diagnosis>"


def with_opened_think(chat_template: str) -> str:
    """A chat template whose generation prompt ends in `<think>`, from one without."""
    return chat_template.rstrip("\n") + _TEMPLATE_OPENING


STORED = "deepicd.json"
"""File of a model's folder: how the model is asked."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How a model is asked: its prompt, and the budgets in tokens of the prompt with its note, and of the completion."""

    prompt: Prompt = DEEPICD
    max_prompt_tokens: int = 2048
    max_response_tokens: int = 1024

    def store(self, model: Path) -> None:
        """Write it into a model's folder; a link there is replaced, not followed."""
        atomic.write(model / STORED, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def asked(run: RunSpec) -> Asked:
    """How a run asks its models, in every stage. Without GRPO the budgets are its defaults."""
    grpo = run.stages.grpo or GrpoSpec()
    return Asked(of(run.model.prompt), grpo.max_prompt_tokens, grpo.max_response_tokens)


def stored(model: Path) -> Asked | None:
    """How the model of a folder was trained to be asked; None where the folder does not say so.

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
        raise UserError(f"{path}: is not a stored prompt: bring the model's folder again, or give --prompt") from None
