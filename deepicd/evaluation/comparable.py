"""Whether the rewards and format rates of two runs can be compared: both must be measured in the same way on the same notes.

Codes are scored again by the version that compares, so macro F1 and accuracy of common admissions are always of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from deepicd.errors import UserError
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.result_files import read_object, read_settings
from deepicd.rewards.judge.judging import REWARD, WITHOUT_JUDGE
from deepicd.spec.judge import TERM as JUDGE
from deepicd.spec.load import parse
from deepicd.spec.training import GrpoSpec

FORM = "format"
"""Like the reward, a measure that depends on the version that evaluated the run."""
NOTES, WORDS = "notes", "words"
"""Names of two of the inputs."""
_MOST_SHOWN = 3
_OF_JUDGE = "spec.reward.judge"


@dataclass(frozen=True, slots=True)
class Scored:
    """What a run's rewards and format faults depend on."""

    run: str
    """Its name in messages."""
    version: str | None = None
    """Of DeepICD, which evaluated it; None if it is not known."""
    settings: Mapping[str, Any] | None = None
    """Fields of run.yaml that decide the reward, by dotted name, each as a value to compare; None if they are not known."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Digests of files that decide it too, see `deepicd.run.reward_inputs`."""
    without_judge: bool = False
    """Whether the reward has a judge that was not available."""

    @property
    def reward_name(self) -> str:
        """What its rewards are called."""
        return WITHOUT_JUDGE if self.without_judge else REWARD


def of_results(run: str, path: Path, predictions: Mapping[str, Sequence[Prediction]]) -> Scored:
    """What a run recorded about its rewards.

    Args:
        run: its name in messages.
        path: its about.json, which may be missing.
        predictions: by model.

    Raises:
        UserError: about.json is damaged.
    """
    if not path.is_file():
        return Scored(run)
    about, spec = read_object(path, ()), _spec(read_settings(path))
    without = bool((spec.get("reward") or {}).get(JUDGE)) and not is_judged(predictions)
    inputs = about.get("rewardInputs") or {NOTES: _of_data(spec)}
    return Scored(
        run,
        version=(about.get("versions") or {}).get("deepicd"),
        settings=_settings(spec, without_judge=without),
        inputs={name: value for name, value in inputs.items() if not (without and name.startswith(_OF_JUDGE))},
        without_judge=without,
    )


def is_judged(predictions: Mapping[str, Sequence[Prediction]]) -> bool:
    """Whether all rewards of a run have the judge's term."""
    return all(JUDGE in one.terms for records in predictions.values() for one in records if one.reward is not None)


def _spec(content: Any) -> Mapping[str, Any]:
    """The `spec` of a run.yaml, by the names of run.yaml and with every default of this version, if it can read it."""
    try:
        content = parse(content, "about.json").model_dump(by_alias=True, mode="json")
    except UserError:  # of a version with other fields
        content = content if isinstance(content, Mapping) else {}
    return content.get("spec") or {}


def _settings(spec: Mapping[str, Any], *, without_judge: bool) -> dict[str, Any]:
    """The fields that decide the held-out reward, by dotted name; nothing of a judge that was not available."""
    reward = spec.get("reward") or {}
    judge = {} if without_judge else reward.get(JUDGE) or {}
    found: dict[str, Any] = {"spec.reward.preset": reward.get("preset")}
    for name, weight in (reward.get("weights") or {}).items():
        if name != JUDGE or judge:
            found[f"spec.reward.weights.{name}"] = weight
    for name, term in (reward.get("terms") or {}).items():
        found[f"spec.reward.terms.{name}"] = term.get("path") or term.get("function")
    found |= {f"{_OF_JUDGE}.{name}": judge.get(name) for name in ("model", "endpoint", "name")}
    sampling = (spec.get("stages") or {}).get("grpo") or GrpoSpec().model_dump(by_alias=True)
    return found | {f"spec.stages.grpo.{name}": sampling.get(name) for name in ("temperature", "topK")}


def _of_data(spec: Mapping[str, Any]) -> list[Any]:
    """The settings that decide a run's notes, in place of their digest: earlier versions recorded none."""
    grpo = (spec.get("stages") or {}).get("grpo") or {}
    data = {name: source for name, source in (spec.get("data") or {}).items() if name != "traces"}
    return [data, (spec.get("model") or {}).get("prompt"), grpo.get("maxPromptTokens")]


def absent(first: Scored, second: Scored) -> dict[str, str]:
    """The measures of two runs that have no difference, with the reason for each; none of a run and itself."""
    if first == second:
        return {}
    if first.version != second.version:
        versions = " and ".join(f"{one.version or 'a version that is not recorded'} ({one.run})" for one in (first, second))
        reason = f"DeepICD {versions} may define it differently"
        return {REWARD: reason, FORM: reason}
    reason = next(_of_reward(first, second), "")
    return {REWARD: reason} if reason else {}


def reasons(runs: Sequence[Scored]) -> dict[str, list[str]]:
    """By measure, each reason why two of these runs have no difference of it; empty if all are of one kind."""
    found: dict[str, dict[str, None]] = {}
    for first, second in combinations(runs, 2):
        for measure, reason in absent(first, second).items():
            found.setdefault(measure, {})[reason] = None
    return {measure: list(unique) for measure, unique in found.items()}


def summary(reasons: Sequence[str]) -> str:
    """The reasons of a measure in a line, the first ones of many."""
    more = f" (and {len(reasons) - _MOST_SHOWN} more)" if len(reasons) > _MOST_SHOWN else ""
    return f"not comparable: {'; '.join(reasons[:_MOST_SHOWN])}{more}"


def _of_reward(first: Scored, second: Scored) -> Iterator[str]:
    both = f"{first.run} and {second.run}"
    for one in (first, second):
        if one.settings is None:
            yield f"{one.run} does not record how its reward is defined (about.json)"
        if one.without_judge and not (first.without_judge and second.without_judge):
            yield f"the reward of {one.run} is without its judge, which was not available"
    if differing := _differing(first.settings or {}, second.settings or {}):
        yield f"{both} have different rewards ({', '.join(differing)})"
    ours, theirs = first.inputs, second.inputs
    if ours.get(NOTES) != theirs.get(NOTES):
        yield f"{both} have different test notes, which the reward reads"
    if ours.get(WORDS) != theirs.get(WORDS):
        yield f"{both} have different training notes, by whose words the term reasoning is weighed"
    files = [{name: value for name, value in own.items() if name not in (NOTES, WORDS)} for own in (ours, theirs)]
    if changed := _differing(*files):
        yield f"{both} have different rewards (the content of {', '.join(changed)})"


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names whose values differ, in order."""
    return [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
