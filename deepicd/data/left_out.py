"""What a run does not use of its data, with the reason: admissions, notes, traces, SFT examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepicd.data.cohort import BY_CHOICE, REASONS, Cohort
from deepicd.data.sft import Examples


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`count` of `of` things are not used."""

    what: str
    """The things, in the plural."""
    count: int
    of: int
    reason: str
    by_choice: bool = False
    """Whether the task or a setting excludes them; otherwise they are a loss."""

    def __str__(self) -> str:
        return f"{self.count:,} of {self.of:,} {self.what}: {self.reason}"


def of_cohort(cohort: Cohort) -> list[LeftOut]:
    """Admissions that the extraction dropped, and notes that it set aside."""
    admissions = [
        LeftOut("admissions", count, cohort.admissions, REASONS.get(name, name), by_choice=name in BY_CHOICE)
        for name, count in cohort.dropped.items()
    ]
    notes = [LeftOut("notes", count, cohort.notes, name.replace("_", " ")) for name, count in cohort.notes_set_aside.items()]
    return [one for one in (*admissions, *notes) if one.count]


def of_examples(examples: Examples) -> list[LeftOut]:
    """Traces that became no SFT example, and training admissions without a trace."""
    elsewhere = LeftOut("traces", examples.elsewhere, examples.traces, "not of a training admission", by_choice=True)
    traces = {
        "empty": examples.empty,
        "a tag (<think> or <diagnosis>) inside the text: give only the reasoning": examples.tagged,
    }
    admissions = examples.traces - examples.elsewhere + examples.without_trace
    found = [elsewhere, *(LeftOut("traces", count, examples.traces, reason) for reason, count in traces.items())]
    found.append(LeftOut("training admissions", examples.without_trace, admissions, "no trace, so no SFT example"))
    return [one for one in found if one.count]


def of_prompts(prompts: Mapping[str, Any]) -> list[LeftOut]:
    """SFT examples that do not fit. `prompts`: content of prompts.json."""
    examples = prompts["examples"]
    if not examples or not examples["dropped"]:
        return []
    reason = f"the answer alone is longer than stages.sft.maxTokens ({prompts['max_example_tokens']:,})"
    return [LeftOut("SFT examples", examples["dropped"], examples["written"] + examples["dropped"], reason)]


def of_limits(prompts: Mapping[str, Any], validation: int | None, test: int | None) -> Iterator[LeftOut]:
    """Admissions beyond the spec's limits. `validation`, `test`: the most that GRPO validates on, and that are evaluated."""
    limits = {
        "validation": (validation, "stages.grpo.maxValidationAdmissions"),
        "test": (test, "stages.evaluate.maxAdmissions"),
    }
    for split, (limit, field) in limits.items():
        notes = prompts["splits"].get(split, {"notes": 0})["notes"]
        if limit is not None and notes > limit:
            yield LeftOut(f"{split} admissions", notes - limit, notes, f"{field} is {limit:,}", by_choice=True)
