"""Create the folder of the base model: the given model with our chat template, or a tiny one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from deepicd import prompt
from deepicd.data import chat_template
from deepicd.errors import UserError
from deepicd.spec.model import LoraSpec, ModelSpec, TinyModel
from deepicd.training.weights import linear_layers, tensors_in

_TINY_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


_WEIGHTS = (".safetensors", ".bin")
_TOKENIZERS = {"tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"}
_NEEDS = "it needs config.json, a tokenizer and *.safetensors"


def make(model: ModelSpec, corpus: Path, out: Path) -> None:
    """Write the base model's folder.

    With `openedThink` the chat template's generation prompt ends in an opened `<think>`, its own or ours, so that every later
    reader of the folder (SFT, vLLM, a user's own server) opens the trace in the same way.

    Raises:
        UserError: `model.path` is a model that cannot be loaded, has no chat template or one that does not take the prompt.
    """
    if model.tiny is not None:
        tokenizer = _train_tokenizer(model.tiny, _texts(corpus))
        _save_tiny_weights(model.tiny, tokenizer, out)
    else:
        tokenizer = _link_model(str(model.path), out)
        _check_targets_in(out, model.lora)  # `validate` could not check this if the model was only on the hub
    _open_think(tokenizer, model)
    tokenizer.save_pretrained(out)


def _open_think(tokenizer: Any, model: ModelSpec) -> None:
    asks = prompt.of(model.prompt)
    chat_template.settle(tokenizer, f"spec.model.path: the tokenizer of '{model.path}'", asks)
    chat_template.check_template(tokenizer, asks, "spec.model.prompt")
    if not model.opened_think:
        if chat_template.opens_think(tokenizer, asks):
            raise UserError(
                "spec.model.openedThink: is false, but the model's chat template already opens <think>: set it to true"
            )
    elif not chat_template.open_think(tokenizer, asks):
        raise UserError(
            "spec.model.path: the model's chat template closes <think> before the model can write in it: "
            "use a model that reasons, or set spec.model.openedThink to false"
        )


def _texts(corpus: Path) -> Iterator[str]:
    """Every prompt and answer of an SFT or training file, as chat text."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(corpus)
    column = "messages" if "messages" in file.schema_arrow.names else "prompt"
    for batch in file.iter_batches(columns=[column]):
        for messages in batch.column(0).to_pylist():
            yield "".join(f"{message['role']}\n{message['content']}\n" for message in messages)


def _train_tokenizer(tiny: TinyModel, texts: Iterator[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _split_as_qwen()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=tiny.vocabulary,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")  # noqa: S106
    wrapped.chat_template = _TINY_TEMPLATE
    return wrapped


def _split_as_qwen() -> Any:
    """The pre-tokenizer of Qwen2 and Qwen3, in which a sign and the word after it can be one token, as in `>The`."""
    from tokenizers import Regex, pre_tokenizers

    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    signs = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    split = pre_tokenizers.Split(Regex(f"{words}|{signs}"), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _save_tiny_weights(tiny: TinyModel, tokenizer: Any, out: Path) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(tiny.seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),  # anything larger gives a false KL
        hidden_size=tiny.hidden_size,
        intermediate_size=tiny.intermediate_size,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(out)


def look(path: str, lora: LoraSpec | None = None, *, place: str = "spec.model.path") -> list[str]:
    """Check a model's folder, or a hub name in the cache, without loading the model; returns warnings.

    `place`: the field with the path, for messages.

    Raises:
        UserError: it is neither a folder nor a name on the hub, it is not in the cache and the hub cannot be asked, its
            folder lacks a file, or it has none of the layers that get an adapter.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    folder = Path(path)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(path, local_files_only=True))
        except HFValidationError:
            raise UserError(f"{place}: no folder {path}: give the folder of a Hugging Face model, or its name") from None
        except LocalEntryNotFoundError:
            if constants.HF_HUB_OFFLINE:
                raise UserError(
                    f"{place}: '{path}' is neither a folder nor in the cache, and HF_HUB_OFFLINE is set: "
                    "give the folder of a Hugging Face model, or download it"
                ) from None
            return [f"{place}: '{path}' is neither a folder nor in the cache: the run will download it from the hub"]
    present = {file.name for file in folder.iterdir()}
    if "config.json" not in present or not present & _TOKENIZERS or not any(name.endswith(_WEIGHTS) for name in present):
        raise UserError(f"{place}: '{path}' is not a Hugging Face model: {_NEEDS}")
    try:
        damaged = not isinstance(json.loads((folder / "config.json").read_bytes()), dict)
    except ValueError:
        damaged = True
    if damaged:
        raise UserError(f"{place}: {folder / 'config.json'} is damaged: download the model again")
    _check_targets_in(folder, lora)
    return []


def _check_targets_in(folder: Path, lora: LoraSpec | None) -> None:
    if (tensors := tensors_in(folder)) is not None:
        check_targets(lora, linear_layers(tensors))


def check_targets(lora: LoraSpec | None, layers: Iterable[tuple[str, Any]]) -> None:
    """Check that a model has each layer that gets an adapter; `layers`: its linear ones, by name.

    Raises:
        UserError: it has not.
    """
    names = {name for name, _ in layers}
    for count, target in enumerate(lora.target_modules if lora is not None else ()):
        if target not in names:
            near = get_close_matches(target, names, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"give some of {', '.join(sorted(names))}"
            raise UserError(f"spec.model.lora.targetModules[{count}]: the model has no linear layer '{target}': {remedy}")


def _link_model(path: str, out: Path) -> Any:
    """Fill `out` with links to a model's files; returns its tokenizer, to be saved next to them."""
    from huggingface_hub import snapshot_download
    from transformers import AutoConfig, AutoTokenizer

    try:
        source = Path(path) if Path(path).is_dir() else Path(snapshot_download(path))
    except Exception:
        raise UserError(
            f"spec.model.path: '{path}' is not a folder, and no model of that name is on the hub or in its cache: "
            "give the folder of a Hugging Face model"
        ) from None
    try:
        AutoConfig.from_pretrained(source)
        tokenizer = AutoTokenizer.from_pretrained(source)
        if not any(file.name.endswith(_WEIGHTS) for file in source.iterdir()):
            raise OSError("no weights")
    except Exception:
        raise UserError(f"spec.model.path: '{path}' is not a Hugging Face model: {_NEEDS}") from None
    for file in source.iterdir():
        if file.is_file():
            (out / file.name).symlink_to(file.resolve())
    # These are written again, with our template and prompt. Writing through a link would change the source.
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json",
                 "added_tokens.json", "vocab.json", "merges.txt", prompt.STORED):  # fmt: skip
        (out / name).unlink(missing_ok=True)
    return tokenizer
