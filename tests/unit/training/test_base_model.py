from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.errors import UserError
from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make

TINY = {"vocabulary": 400, "hiddenSize": 32, "intermediateSize": 32, "layers": 1, "heads": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "sft.parquet"
    rows = [
        {"messages": [*prompt.messages(f"Pain for {days} days."), {"role": "assistant", "content": "x"}]} for days in range(50)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def tiny(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model without an opened think."""
    folder = tmp_path_factory.mktemp("tiny")
    make(ModelSpec.model_validate({"tiny": TINY, "openedThink": False}), corpus, folder)
    return folder


def generation_prompt(folder: Path) -> str:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return str(tokenizer.apply_chat_template(prompt.messages("note"), add_generation_prompt=True, tokenize=False))


def test_a_tiny_model_has_as_many_embeddings_as_its_tokenizer_has_tokens(tiny: Path) -> None:
    from transformers import AutoTokenizer

    config = json.loads((tiny / "config.json").read_text())
    assert config["vocab_size"] == len(AutoTokenizer.from_pretrained(tiny))
    assert config["tie_word_embeddings"] is False


def test_without_an_opened_think_the_template_is_left_as_it_is(tiny: Path) -> None:
    assert generation_prompt(tiny).endswith("<|im_start|>assistant\n")


def test_a_given_model_gets_the_opened_think_and_keeps_its_files(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tiny.iterdir()}
    make(ModelSpec(path=str(tiny)), corpus, tmp_path)
    assert generation_prompt(tmp_path).endswith("<|im_start|>assistant\n<think>\n")
    assert (tmp_path / "model.safetensors").is_symlink()
    assert {path.name: path.read_bytes() for path in tiny.iterdir()} == before


def test_a_model_without_the_layers_that_get_adapters_is_refused(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    model = {"path": str(tiny), "lora": {"targetModules": ["query"]}}
    with pytest.raises(UserError, match=r"targetModules\[0\]: the model has no linear layer 'query'"):
        make(ModelSpec.model_validate(model), corpus, tmp_path)


def test_a_model_with_tied_embeddings_can_be_trained(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(tiny, source)
    out.mkdir()
    config = AutoConfig.from_pretrained(tiny)
    config.tie_word_embeddings = True
    AutoModelForCausalLM.from_config(config).save_pretrained(source)
    make(ModelSpec(path=str(source)), corpus, out)
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is True


def test_a_chat_without_generation_prompt_is_not_changed_by_the_opened_think(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make(ModelSpec(path=str(tiny)), corpus, tmp_path)
    chat = [*prompt.messages("note"), {"role": "assistant", "content": prompt.answer("because", "M5116")}]
    plain, opened = (
        AutoTokenizer.from_pretrained(folder).apply_chat_template(chat, tokenize=False) for folder in (tiny, tmp_path)
    )
    assert plain == opened


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is not a Hugging Face model"),
        ({"config.json": "{}"}, "is not a Hugging Face model"),
        ({"config.json": "not json"}, "is not a Hugging Face model"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(files: dict[str, str], message: str, corpus: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    for name, text in files.items():
        (source / name).write_text(text)
    with pytest.raises(UserError, match=message):
        make(ModelSpec(path=str(source)), corpus, out)


def test_a_model_without_weights_is_refused(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="is not a Hugging Face model"):
        make(ModelSpec(path=str(tmp_path)), corpus, tmp_path)


def with_template(tiny: Path, folder: Path, template: str) -> Path:
    """A copy of the tiny model with another chat template."""
    from transformers import AutoTokenizer

    shutil.copytree(tiny, folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


REFUSES_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ message['content'] }}{% endfor %}"
)
LEAVES_SYSTEM_OUT = "{% for message in messages if message['role'] != 'system' %}{{ message['content'] }}{% endfor %}"


@pytest.mark.parametrize("template", [REFUSES_SYSTEM, LEAVES_SYSTEM_OUT])
def test_a_template_without_a_system_role_takes_only_a_prompt_without_one(
    tiny: Path, corpus: Path, tmp_path: Path, template: str
) -> None:
    model = {"path": str(with_template(tiny, tmp_path / "source", template))}
    for name in ("refused", "taken"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        UserError, match=r"spec\.model\.prompt: .* does not take its system turn: give the whole instruction in user"
    ):
        make(ModelSpec.model_validate(model), corpus, tmp_path / "refused")
    user = {"user": "Think in <think>, answer in <diagnosis>: {note}"}
    make(ModelSpec.model_validate({**model, "prompt": user}), corpus, tmp_path / "taken")
    assert (tmp_path / "taken" / "config.json").exists()


def test_a_model_that_opens_the_think_already_gets_no_second_one(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
    make(ModelSpec(path=str(tiny)), corpus, tmp_path / "once")
    make(ModelSpec(path=str(tmp_path / "once")), corpus, tmp_path / "again")
    assert generation_prompt(tmp_path / "again").count("<think>") == generation_prompt(tmp_path / "once").count("<think>")


def test_a_model_that_opens_the_think_is_not_taken_for_one_that_does_not(tiny: Path, corpus: Path, tmp_path: Path) -> None:
    for name in ("opened", "closed"):
        (tmp_path / name).mkdir()
    make(ModelSpec(path=str(tiny)), corpus, tmp_path / "opened")
    with pytest.raises(UserError, match=r"spec\.model\.openedThink: is false"):
        make(ModelSpec(path=str(tmp_path / "opened"), opened_think=False), corpus, tmp_path / "closed")


def test_a_tiny_models_tokenizer_joins_a_sign_and_a_word_as_qwens_does(tiny: Path) -> None:
    from tokenizers import Tokenizer

    split = Tokenizer.from_file(str(tiny / "tokenizer.json")).pre_tokenizer.pre_tokenize_str("<think>The 42 cases'll\n\nsee")
    assert [text for text, _ in split] == ["<think", ">The", "Ġ", "4", "2", "Ġcases", "'ll", "ĊĊ", "see"]
