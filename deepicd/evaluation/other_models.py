"""Models that the run did not train: their folder, and the test split's notes with their prompt and budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepicd import prompt as prompts
from deepicd.data.chat_template import opens_think
from deepicd.data.example_tokens import Chat
from deepicd.data.prompts import ChatTokens, shorten_notes
from deepicd.errors import UserError
from deepicd.evaluation.plan import EvaluationPlan, Model
from deepicd.evaluation.predict import load_tokenizer
from deepicd.prompt import Asked, Prompt


def setting(name: str) -> str:
    """The field of run.yaml that names a model."""
    return f"spec.stages.evaluate.models.{name}.path"


def folder(model: Model) -> Path:
    """The model's folder, from the hub or its cache if it is not a folder itself.

    Raises:
        UserError: there is no such model.
    """
    if Path(model.path).is_dir():
        return Path(model.path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model.path))
    except Exception:
        raise UserError(
            f"{setting(model.name)}: '{model.path}' is not a folder, and no model of that name is on the hub or in its cache: "
            "give the folder of a Hugging Face model"
        ) from None


def prompt_of(model: Model, where: Path, run: Prompt) -> Prompt:
    """The prompt in run.yaml, otherwise the one in the model's deepicd.json, otherwise the run's.

    Raises:
        UserError: the folder's file is damaged.
    """
    if model.prompt is not None:
        return Prompt(**model.prompt)
    known = prompts.stored(where)
    return run if known is None else known.prompt


def prepare(
    model: Model, where: Path, plan: EvaluationPlan, cohort: Sequence[Chat]
) -> tuple[Prompt, list[str], bool, str | None]:
    """Prompt, notes within the run's budget by this model's tokenizer, whether its prompt opens `<think>`, and its template.

    Args:
        model: the model.
        where: its folder.
        plan: has the budgets.
        cohort: [N] prompts of the cohort's files, with whole notes.

    Raises:
        UserError: the model has no chat template, or one that does not take the prompt; the prompt alone exceeds the budget.
    """
    asks = prompt_of(model, where, Prompt(**plan.prompt))
    opened = None if prompts.stored(where) is not None else plan.opened_think
    asked = Asked(asks, plan.max_prompt_tokens, plan.max_response_tokens)
    try:
        tokenizer = load_tokenizer(where, asked, opened or None)
    except UserError as error:
        # The message of `deepicd predict` begins with its option.
        raise UserError(f"{setting(model.name)}: {str(error).partition(': ')[2]}") from None
    whole = [prompts.DEEPICD.note(messages) for messages in cohort]
    budget = "spec.stages.grpo.maxPromptTokens"
    shortened = shorten_notes(whole, asks, plan.max_prompt_tokens, ChatTokens(tokenizer), budget)
    return asks, [one.note for one in shortened], opens_think(tokenizer, asks), tokenizer.chat_template
