"""SFT's examples and rollouts' prompts, with the templates of several kinds of models.

Real tokenizers are checked too if DEEPICD_TOKENIZERS names a folder with a folder for each model type (qwen3, llama,
deepseek_v3), with its tokenizer.json and tokenizer_config.json.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import completion, prompt
from deepicd.data.example_tokens import end_of_answer, example_tokens
from deepicd.errors import UserError
from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make
from deepicd.training.context_check import check_example, check_examples, check_prompts
from deepicd.training.sft_examples import SftExamples

TINY = {"vocabulary": 600, "hiddenSize": 32, "intermediateSize": 32, "layers": 1, "heads": 1}
TRACES = ["The pain is new.", "(A) fever\nand a cough", "  40 mg are given: 'tis enough."]
NOTES = [f"Chief Complaint:\nPain for {days} days.\n\nHe takes 40 mg." for days in range(40)]

TURNS = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
CHATML = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
# Opens the trace itself, and leaves an answer's reasons out.
OPENS = (
    "{% for message in messages %}{% set content = message.content %}"
    "{% if message.role == 'assistant' and '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<|im_start|>{{ message.role }}\n{{ content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# Rewrites the trace of the last answer only, and refuses a chat without a user's turn.
REWRITES = (
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}{{ raise_exception('no user') }}{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{% set parts = message.content.split('</think>') %}"
    "{% if loop.last %}<think>\n{{ parts[0].split('<think>')[-1].strip('\n') }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].lstrip('\n') }}{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Does not think unless it is switched on.
SWITCHED = (
    "{% if thinking is not defined %}{% set thinking = false %}{% endif %}" + TURNS + "{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{% if thinking %}<think>{% else %}</think>{% endif %}{% endif %}"
)
TEMPLATES = {"plain": CHATML, "opens": OPENS, "rewrites": REWRITES, "switched": SWITCHED}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "sft.parquet"
    rows = [
        {"messages": [*prompt.messages(note), {"role": "assistant", "content": f"<think>The {note}</think>"}]} for note in NOTES
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def plain(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    make(ModelSpec.model_validate({"tiny": TINY, "openedThink": False}), corpus, folder)
    return folder


def with_template(plain: Path, folder: Path, template: str) -> Path:
    """A copy of the tiny model with another chat template."""
    from transformers import AutoTokenizer

    shutil.copytree(plain, folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def prepared(source: Path, corpus: Path, out: Path, *, opened: bool = True) -> tuple[Path, Any]:
    """The folder that a run makes of a model, and its tokenizer."""
    from transformers import AutoTokenizer

    out.mkdir()
    make(ModelSpec(path=str(source), opened_think=opened), corpus, out)
    return out, AutoTokenizer.from_pretrained(out)


def examples(folder: Path) -> Path:
    chats = [
        [*prompt.messages(note), {"role": "assistant", "content": prompt.answer(trace, "M5116")}]
        for note, trace in zip(NOTES, TRACES * len(NOTES), strict=False)
    ]
    pq.write_table(pa.Table.from_pylist([{"messages": chat, "prompt": chat[:-1]} for chat in chats]), folder / "x.parquet")
    return folder / "x.parquet"


def check_taught(folder: Path, tokenizer: Any, file: Path, *, opened: bool) -> None:
    check_prompts(file, tokenizer, prompt.DEEPICD, folder)
    check_examples(file, tokenizer, folder)
    found = SftExamples(file, tokenizer, folder)
    for place, chat in enumerate(pq.read_table(file)["messages"].to_pylist()):
        ids, mask = (found[place][name].tolist() for name in ("input_ids", "loss_mask"))
        before = tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=True, return_dict=True)
        context = before["input_ids"]
        assert ids[: len(context)] == context
        assert mask == [0] * len(context) + [1] * (len(ids) - len(context))
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(context).rstrip().endswith("<think>") == opened
        assert tokenizer.decode(ids).count("<think>") == prompt.SYSTEM.count("<think>") + 1
        text = tokenizer.decode(ids[len(context) :], skip_special_tokens=True)
        assert completion.parse(text, opened_think=opened) == completion.Completion(TRACES[place % 3].strip(), "M5116", ())


def test_a_sign_and_the_word_after_it_can_be_one_token_of_the_tiny_model(plain: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(plain)
    context = tokenizer("<think>")["input_ids"]
    assert tokenizer("<think>The")["input_ids"][: len(context)] != context
    context = tokenizer(prompt.THINK_OPENING)["input_ids"]
    assert tokenizer(f"{prompt.THINK_OPENING}The")["input_ids"][: len(context)] == context


@pytest.mark.parametrize("name", TEMPLATES)
def test_sft_teaches_the_whole_answer_in_the_context_of_a_rollout(name: str, plain: Path, corpus: Path, tmp_path: Path) -> None:
    source = with_template(plain, tmp_path / "source", TEMPLATES[name])
    folder, tokenizer = prepared(source, corpus, tmp_path / "model")
    check_taught(folder, tokenizer, examples(tmp_path), opened=True)


@pytest.mark.parametrize("name", ["plain", "rewrites"])
def test_sft_teaches_the_opening_where_the_prompt_has_none(name: str, plain: Path, corpus: Path, tmp_path: Path) -> None:
    source = with_template(plain, tmp_path / "source", TEMPLATES[name])
    folder, tokenizer = prepared(source, corpus, tmp_path / "model", opened=False)
    check_taught(folder, tokenizer, examples(tmp_path), opened=False)


def test_of_several_templates_the_default_one_is_used(plain: Path, corpus: Path, tmp_path: Path) -> None:
    source = with_template(plain, tmp_path / "source", CHATML)
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("{{ raise_exception('not this one') }}")
    folder, tokenizer = prepared(source, corpus, tmp_path / "model")
    check_taught(folder, tokenizer, examples(tmp_path), opened=True)


DAY = "Today is {{ strftime_now('%d %b %Y') if strftime_now is defined else 'unknown' }}.\n" + CHATML


def test_a_prompt_is_the_same_on_every_day(plain: Path, corpus: Path, tmp_path: Path) -> None:
    folder, tokenizer = prepared(with_template(plain, tmp_path / "source", DAY), corpus, tmp_path / "model")
    check_taught(folder, tokenizer, examples(tmp_path), opened=True)
    text = tokenizer.apply_chat_template(prompt.messages("note"), add_generation_prompt=True, tokenize=False)
    assert text.startswith("Today is 26 Jul 2024.\n")


DEMANDS = "{% if enable_thinking is not defined %}{{ raise_exception('enable_thinking must be given') }}{% endif %}" + CHATML


def test_a_template_that_demands_the_switch_for_thinking_gets_it(plain: Path, corpus: Path, tmp_path: Path) -> None:
    folder, tokenizer = prepared(with_template(plain, tmp_path / "source", DEMANDS), corpus, tmp_path / "model")
    check_taught(folder, tokenizer, examples(tmp_path), opened=True)


@pytest.mark.parametrize("template", ["{% for turn in %}", "{{ raise_exception('no chats') }}"])
def test_what_a_template_fails_with_is_said(template: str, plain: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spec\.model\.prompt: the model's chat template fails: \w.*: correct it"):
        prepared(with_template(plain, tmp_path / "source", template), corpus, tmp_path / "model")


@pytest.mark.parametrize("end", ["assistant: ", "assistant:\n\n", "assistant:\n"])
def test_the_opening_leaves_the_end_of_a_template_as_it_is(end: str, plain: Path, corpus: Path, tmp_path: Path) -> None:
    source = with_template(plain, tmp_path / "source", TURNS + end)
    before, after = (
        tokenizer.apply_chat_template(prompt.messages("note"), add_generation_prompt=True, tokenize=False)
        for _, tokenizer in (
            prepared(source, corpus, tmp_path / "plain", opened=False), prepared(source, corpus, tmp_path / "opened")
        )
    )  # fmt: skip
    assert after == before + "<think>\n"


def test_a_template_that_closes_the_think_for_good_is_refused(plain: Path, corpus: Path, tmp_path: Path) -> None:
    template = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
    with pytest.raises(UserError, match=r"spec\.model\.path: .* closes <think> before the model can write in it"):
        prepared(with_template(plain, tmp_path / "source", template), corpus, tmp_path / "model")


@pytest.mark.parametrize(
    ("template", "stops", "end"),
    [
        (CHATML, [], ["<|im_end|>"]),
        (CHATML.replace("<|im_end|>", "<|endoftext|>"), [0], ["<|endoftext|>"]),
        (CHATML.replace("<|im_end|>", "<|endoftext|>"), [], ["<|im_end|>"]),
        (CHATML.replace("<|im_end|>", "!<|im_end|>"), [], ["!", "<|im_end|>"]),
    ],
)
def test_an_answer_ends_where_generation_stops(template: str, stops: list[int], end: list[str], plain: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(plain)
    tokenizer.chat_template = template
    assert tokenizer.convert_ids_to_tokens(end_of_answer(tokenizer, stops)) == end


def test_a_tokenizer_without_an_end_is_refused(plain: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(plain)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="has no end-of-text token"):
        end_of_answer(tokenizer, [])


def spoilt(plain: Path, folder: Path, spoil: Any) -> Any:
    """The tokenizer of a copy of the tiny model with a changed tokenizer.json."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_file(str(plain / "tokenizer.json"))
    spoil(tokenizer)
    shutil.copytree(plain, folder)
    config = json.loads((plain / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 1000}))  # with room for more tokens
    found = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    found.chat_template = CHATML
    return found


def lose_spaces(tokenizer: Any) -> None:
    from tokenizers import normalizers

    tokenizer.normalizer = normalizers.Replace(" ", "")


def make_tags_special(tokenizer: Any) -> None:
    tokenizer.add_special_tokens(["</think>"])


def test_a_tokenizer_that_loses_spaces_is_refused(plain: Path, tmp_path: Path) -> None:
    tokenizer = spoilt(plain, tmp_path / "model", lose_spaces)
    with pytest.raises(UserError, match=r"spec\.model\.path: .* loses characters or spaces of the notes: check"):
        check_prompts(examples(tmp_path), tokenizer, prompt.DEEPICD, tmp_path / "model")
    with pytest.raises(UserError, match=r"spec\.model\.path: .* does not decode an SFT answer to the text that was written"):
        check_examples(examples(tmp_path), tokenizer, tmp_path / "model")


def test_a_tokenizer_whose_tags_the_reward_would_not_see_is_refused(plain: Path, tmp_path: Path) -> None:
    tokenizer = spoilt(plain, tmp_path / "model", make_tags_special)
    check_prompts(examples(tmp_path), tokenizer, prompt.DEEPICD, tmp_path / "model")
    with pytest.raises(UserError, match="does not decode an SFT answer"):
        check_examples(examples(tmp_path), tokenizer, tmp_path / "model")


def test_a_tokenizer_with_more_tokens_than_the_model_has_is_refused(plain: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    shutil.copytree(plain, tmp_path / "model")
    config = json.loads((plain / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"vocab_size": 300}))
    with pytest.raises(UserError, match=r"has tokens beyond the model's 300: download tokenizer and model together"):
        check_prompts(examples(tmp_path), AutoTokenizer.from_pretrained(plain), prompt.DEEPICD, tmp_path / "model")


def test_an_example_tokenized_as_one_text_is_refused(plain: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(plain)
    tokenizer.chat_template = CHATML.replace("assistant\n", "assistant\n<think>")
    chat = [*prompt.messages(NOTES[0]), {"role": "assistant", "content": prompt.answer("The pain.", "M5116")}]
    [right] = example_tokens(tokenizer, [chat], end_of_answer(tokenizer, []))
    check_example(right.prompt + right.completion, [0] * len(right.prompt) + [1] * len(right.completion), chat, tokenizer)
    text = tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False)
    whole = tokenizer(f"{text}The pain.</think>\n<diagnosis>M5116</diagnosis><|im_end|>")["input_ids"]
    with pytest.raises(UserError, match="splits an SFT example differently from a rollout's prompt"):
        check_example(whole, [0] * len(right.prompt) + [1] * (len(whole) - len(right.prompt)), chat, tokenizer)
    with pytest.raises(UserError, match="lets SFT teach a part of the prompt"):
        check_example(right.prompt + right.completion, [1] * len(right.prompt + right.completion), chat, tokenizer)


REAL = os.environ.get("DEEPICD_TOKENIZERS")


def real(model_type: str, plain: Path, folder: Path, *, of: str | None = None) -> Path:
    """A model's folder with a real tokenizer, of this type of model or of another one."""
    if REAL is None:
        pytest.skip("DEEPICD_TOKENIZERS names no folder of real tokenizers")
    shutil.copytree(Path(REAL) / (of or model_type), folder)
    shutil.copy(plain / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 200_000}))
    return folder


@pytest.mark.parametrize("model_type", ["qwen3", "llama", "deepseek_v3"])
@pytest.mark.parametrize("opened", [True, False])
def test_with_a_real_tokenizer_sft_teaches_the_whole_answer_in_the_context_of_a_rollout(
    model_type: str, opened: bool, plain: Path, corpus: Path, tmp_path: Path
) -> None:
    source = real(model_type, plain, tmp_path / "source")
    folder, tokenizer = prepared(source, corpus, tmp_path / "model", opened=opened)
    check_taught(folder, tokenizer, examples(tmp_path), opened=opened)


def test_a_real_tokenizer_that_is_read_otherwise_than_its_files_say_is_refused(
    plain: Path, corpus: Path, tmp_path: Path
) -> None:
    source = real("llama", plain, tmp_path / "source", of="deepseek_v3")
    _, tokenizer = prepared(source, corpus, tmp_path / "model")
    with pytest.raises(UserError, match="loses characters or spaces of the notes"):
        check_prompts(examples(tmp_path), tokenizer, prompt.DEEPICD, tmp_path / "model")
    (source / "tokenizer_config.json").write_text(
        (source / "tokenizer_config.json").read_text().replace("LlamaTokenizerFast", "PreTrainedTokenizerFast")
    )
    folder, tokenizer = prepared(source, corpus, tmp_path / "remedied")
    check_taught(folder, tokenizer, examples(tmp_path), opened=True)
