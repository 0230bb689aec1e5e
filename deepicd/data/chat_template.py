"""A model's chat template: the one that is used, whether it takes a prompt, and whether its prompt opens `<think>`."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

from deepicd import prompt
from deepicd.data.example_tokens import Chat, generation_prompt, opened
from deepicd.errors import UserError
from deepicd.prompt import Prompt

_DAY = date(2024, 7, 26)
"""The day that Llama's templates write where they cannot ask for today's."""
_TODAY = re.compile(r"strftime_now\(\s*(['\"])([^'\"]*)\1\s*\)")
_LONGEST_REASON = 200


def settle(tokenizer: Any, what: str, asks: Prompt) -> None:
    """Give a tokenizer one template, its default one, that writes the same prompt on every day.

    A template that demands the switch by which a model thinks gets it.

    Args:
        tokenizer: a transformers tokenizer.
        what: what messages call it.
        asks: the prompt that it will write.

    Raises:
        UserError: it has no template.
    """
    found = tokenizer.chat_template
    if isinstance(found, dict):  # several, by name
        found = found.get("default")
    if not found:
        raise UserError(f"{what} has no chat template: use an instruction-tuned model")
    tokenizer.chat_template = plain = _TODAY.sub(lambda match: repr(_DAY.strftime(match[2])), found)
    if _failure(tokenizer, asks.messages("")) is not None:
        tokenizer.chat_template = prompt.with_thinking_on(plain)
        if _failure(tokenizer, asks.messages("")) is not None:
            tokenizer.chat_template = plain


def check_template(tokenizer: Any, asks: Prompt, setting: str) -> None:
    """Refuse a chat template that does not support one of the prompt's turns. `setting`: where the prompt is set.

    Raises:
        UserError: the template raises an error, or leaves out the text of a turn.
    """
    messages = asks.messages("")
    text = ""
    if (failure := _failure(tokenizer, messages)) is None:
        text = generation_prompt(tokenizer, messages)
    elif asks.system is None or _failure(tokenizer, messages[1:]) is not None:
        raise UserError(f"{setting}: the model's chat template fails: {failure}: correct it, or use another model")
    for message in messages:
        if message["content"].strip() not in text:
            remedy = "give the whole instruction in user" if asks.system is not None else "use an instruction-tuned model"
            raise UserError(f"{setting}: the model's chat template does not take its {message['role']} turn: {remedy}")


def _failure(tokenizer: Any, messages: Chat) -> str | None:
    """What a template raises about messages without a note, as most do for a system turn that they do not take."""
    try:
        generation_prompt(tokenizer, messages)
    except Exception as error:  # templates may raise anything
        return " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
    return None


def opens_think(tokenizer: Any, asks: Prompt) -> bool:
    """Whether the chat template's generation prompt ends in an opened `<think>`."""
    return opened(generation_prompt(tokenizer, asks.messages("")))


def open_think(tokenizer: Any, asks: Prompt) -> bool:
    """Have the generation prompt end in an opened `<think>`: the template's own, or ours.

    Returns:
        Whether it does. Some templates always end in a trace that is already closed: the model is not to think.
    """
    if _closes_think(tokenizer, asks):
        tokenizer.chat_template = prompt.with_thinking_on(tokenizer.chat_template)
        if _closes_think(tokenizer, asks):
            return False
    if not opens_think(tokenizer, asks):
        tokenizer.chat_template = prompt.with_opened_think(tokenizer.chat_template)
    return True


def _closes_think(tokenizer: Any, asks: Prompt) -> bool:
    return generation_prompt(tokenizer, asks.messages("")).rstrip().endswith("</think>")
