"""`spec.model.prompt`: the text that asks a model about each note."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepicd.spec.base import SpecModel
from deepicd.spec.rules import contains, either, exactly_one, given, never, requires

NOTE = "{note}"
"""The placeholder of the admission note in a prompt's `user`. Any other brace is plain text."""
TAGS = ("<think>", "<diagnosis>")
"""The tags that a prompt must name, so that an answer can be read."""
MAX_CHARACTERS = 16384
"""Limit of each text."""


class PromptSpec(SpecModel):
    """The text that asks a model about each note: exactly one of `preset`, `file`, `user`."""

    preset: Literal["deepicd"] | None = None
    """`deepicd`: our instruction as the system turn, then only the note."""
    file: str | None = None
    """YAML file with `system` and `user`; its path is relative to run.yaml. It is read together with run.yaml, also by
    `deepicd submit`; with kubectl give the texts themselves."""
    system: str | None = Field(default=None, min_length=1, max_length=MAX_CHARACTERS)
    """The system turn, in addition to `user`; leave it out for a chat template without a system role."""
    user: str | None = Field(default=None, min_length=1, max_length=MAX_CHARACTERS)
    """The user turn, which contains `{note}` once. It or `system` must name the tags `<think>` and `<diagnosis>`."""

    rules = (
        exactly_one("preset", "file", "user"),
        never(given("file"), "file: is read only beside a run.yaml: give its texts as system and user, or use deepicd submit"),
        requires("system", given("user"), "system: goes with user: give both"),
        requires("user", contains("user", NOTE, times=1), f"user: must have {NOTE} once, where the note goes"),
        never(contains("system", NOTE), f"system: has {NOTE}: the note goes into user"),
        *(
            requires(
                "user",
                either(contains("user", tag), contains("system", tag), message=""),
                f"the texts do not name {tag}: ask for the answer as <think>…</think> <diagnosis>…</diagnosis>",
            )
            for tag in TAGS
        ),
    )
