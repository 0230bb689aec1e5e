"""Compare what SFT teaches with what rollouts see, on a run's own tokenizer and some of its examples."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deepicd.data.example_tokens import Chat, completion, generation_prompt, token_ids
from deepicd.errors import UserError
from deepicd.prompt import Prompt

EXAMPLES = 100
"""How many rows of a file are compared."""
_MODEL = "spec.model.path: the model's tokenizer"
_REMEDY = (
    "check the folder's tokenizer_config.json (tokenizer_class PreTrainedTokenizerFast reads tokenizer.json as it is), "
    "or use another model"
)


def check_prompts(prompts: Path, tokenizer: Any, asks: Prompt, model: Path) -> None:
    """Refuse a tokenizer that loses part of the notes or belongs to another model.

    Args:
        prompts: a file that `deepicd.data.prompts.write_prompts` wrote.
        tokenizer: a transformers tokenizer with a chat template.
        asks: the prompt of that file.
        model: the model's folder.

    Raises:
        UserError: the tokens of a prompt do not contain its note, or the model lacks one of them.
    """
    words = _vocabulary(model)
    chats = _column(prompts, "prompt")
    texts = [generation_prompt(tokenizer, chat) for chat in chats]
    for chat, ids in zip(chats, token_ids(tokenizer, texts), strict=True):
        if _plain(asks.note(chat)) not in _plain(tokenizer.decode(ids)):
            raise UserError(f"{_MODEL} loses characters or spaces of the notes: {_REMEDY}")
        if words is not None and max(ids) >= words:
            raise UserError(f"{_MODEL} has tokens beyond the model's {words}: download tokenizer and model together")


def check_examples(examples: Path, tokenizer: Any, model: Path) -> None:
    """Refuse a tokenizer with which SFT would teach anything other than a rollout's prompt and the whole answer to it.

    Args:
        examples: the file of SFT's examples.
        tokenizer: a transformers tokenizer with a chat template.
        model: the model's folder.

    Raises:
        UserError: the prompt's tokens are not the beginning of an example, or the taught tokens are not its answer.
    """
    from deepicd.training.sft_examples import SftExamples

    found = SftExamples(examples, tokenizer, model)
    for place, chat in enumerate(_column(examples, "messages")):
        example = found[place]
        check_example(example["input_ids"].tolist(), example["loss_mask"].tolist(), chat, tokenizer)


def check_example(ids: Sequence[int], mask: Sequence[int], chat: Chat, tokenizer: Any) -> None:
    """`check_examples` for one example. `ids`: its tokens; `mask`: 1 for each one that is taught; `chat`: its turns.

    Raises:
        UserError: see `check_examples`.
    """
    # As verl's rollouts make it.
    prompt = tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    if list(ids[: len(prompt)]) != prompt:
        raise UserError(f"{_MODEL} splits an SFT example differently from a rollout's prompt: {_REMEDY}")
    if list(mask) != [0] * len(prompt) + [1] * (len(ids) - len(prompt)):
        raise UserError(f"{_MODEL} lets SFT teach a part of the prompt, or leave out a part of the answer: {_REMEDY}")
    # As the reward reads it.
    taught = tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
    if _plain(taught) != _plain(completion(generation_prompt(tokenizer, chat[:-1]), chat[-1]["content"])):
        raise UserError(f"{_MODEL} does not decode an SFT answer to the text that was written: {_REMEDY}")


def _vocabulary(model: Path) -> int | None:
    """Number of tokens that a model knows; None if its configuration does not say."""
    from transformers import AutoConfig

    return getattr(AutoConfig.from_pretrained(model).get_text_config(), "vocab_size", None)


def _column(path: Path, name: str) -> list[Chat]:
    rows: Iterable[Chat] = (
        chat for batch in pq.ParquetFile(path).iter_batches(EXAMPLES, columns=[name]) for chat in batch.column(0).to_pylist()
    )
    return list(islice(rows, EXAMPLES))


def _plain(text: str) -> str:
    """Without what tokenizers may change: composed characters, and how wide a space is."""
    return " ".join(unicodedata.normalize("NFC", text).split())
