"""How chats become tokens: a prompt as in a rollout, and an SFT example as that prompt with the completion that it teaches."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepicd import prompt
from deepicd.errors import UserError

Chat = Sequence[Mapping[str, str]]

_PROBE = "§"
"""An answer whose end is found in the template's text: no template writes this sign itself."""


@dataclass(frozen=True, slots=True)
class ExampleTokens:
    """Token ids of an SFT example."""

    prompt: list[int]
    """As a rollout of its note has it; not taught."""
    completion: list[int]
    """Taught, with its end."""


def generation_prompt(tokenizer: Any, chat: Chat) -> str:
    """A prompt's text, up to where the model begins to write."""
    return str(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))


def completion(prompt_text: str, answer: str) -> str:
    """What the model has to write after the prompt: the answer, without its `<think>` if the prompt ends in one."""
    return answer.removeprefix(prompt.THINK).lstrip() if opened(prompt_text) else answer


def opened(prompt_text: str) -> bool:
    """Whether a prompt ends in an opened `<think>`."""
    return prompt_text.rstrip().endswith(prompt.THINK)


def example_tokens(tokenizer: Any, examples: Sequence[Chat], end: Sequence[int]) -> list[ExampleTokens]:
    """Tokens of examples whose last turn is the assistant's.

    Prompt and completion are tokenized apart, as in a rollout: tokenized as one text, they could share a token. The
    template only writes the prompt, since those of reasoning models leave the reasons of an answer out.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        examples: chats.
        end: token ids after each completion: see `end_of_answer`.
    """
    prompts = [generation_prompt(tokenizer, chat[:-1]) for chat in examples]
    completions = [completion(text, chat[-1]["content"]) for text, chat in zip(prompts, examples, strict=True)]
    pairs = zip(token_ids(tokenizer, prompts), token_ids(tokenizer, completions), strict=True)
    return [ExampleTokens(before, [*after, *end]) for before, after in pairs]


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without those that a tokenizer adds around a text: the chat template has them."""
    if not texts:
        return []
    return list(tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"])


def end_of_answer(tokenizer: Any, stops: Collection[int]) -> list[int]:
    """The tokens that end an answer: the template's own up to one at which generation stops, else the end-of-text token.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        stops: ids of tokens at which the model's own generation settings stop.

    Raises:
        UserError: the tokenizer has no end-of-text token.
    """
    if tokenizer.eos_token_id is None:
        raise UserError("spec.model.path: the tokenizer has no end-of-text token (eos_token): use an instruction-tuned model")
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _PROBE}]
    try:
        text = str(tokenizer.apply_chat_template(turns, add_generation_prompt=False, tokenize=False))
    except Exception:  # a template raises what it likes
        text = ""
    written = token_ids(tokenizer, [text.rpartition(_PROBE)[2]])[0]
    for place, token in enumerate(written):
        if token in stops or token == tokenizer.eos_token_id:
            return written[: place + 1]
    return [int(tokenizer.eos_token_id)]


def stop_tokens(model: Path) -> frozenset[int]:
    """Ids of the tokens at which vLLM ends the completions of the model in a folder, besides the tokenizer's own."""
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(model).eos_token_id
    except OSError:  # the folder has none: vLLM reads the model's configuration
        config = model / "config.json"
        found = json.loads(config.read_text()).get("eos_token_id") if config.is_file() else None
    return frozenset([] if found is None else [found] if isinstance(found, int) else found)


def read_completion(tokenizer: Any, tokens: Sequence[int], stops: Collection[int], limit: int) -> tuple[str, bool]:
    """The text of a sampled completion without its end, and whether it was cut off.

    Args:
        tokenizer: a transformers tokenizer.
        tokens: the completion's token ids, with the one at which generation stopped.
        stops: ids of all tokens at which generation stops.
        limit: tokens that a completion may have. One of that length is whole if its last token is one of `stops`.
    """
    ended = bool(tokens) and tokens[-1] in stops
    text = tokenizer.decode(tokens[: len(tokens) - ended], skip_special_tokens=True)
    return text, not ended and len(tokens) >= limit
