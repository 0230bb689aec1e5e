"""Traces for the ablation: those of the synthetic cohort with planted faults, what the filters keep of them, and empty ones."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from benchmarks.planted_faults import FAULTS, Example, written
from benchmarks.trace_filters import SIMILARITY, judged
from deepicd.data import extracted
from deepicd.data.synthetic import cases, diseases
from deepicd.data.synthetic.diseases import Disease
from deepicd.distill.filters import Rule
from deepicd.distill.form import read
from deepicd.distill.founded import later_part
from deepicd.distill.similar import Seen

FAULTY = 0.5
"""Share of the training admissions whose trace gets a fault; each rule has the same share of them."""
BARE = "The note supports this diagnosis."
"""The trace of the set `bare`: SFT takes none without text."""
PLANTED = tuple(rule for rule in FAULTS if rule is not Rule.FORM)
"""Without the asked form there is no trace to learn from."""
_TRACE = re.compile(
    r"(?:Presents with|Came in with|Complaint is) (?P<complaint>.+?); note shows (?P<seen>.+?)\. "
    r"(?:No (?P<denied>.+?); the past history does not explain it\. )?.+",
    re.DOTALL,
)


def write(tables: Path, cohort: Path, codes: int, seed: int, out: Path) -> dict[str, Any]:
    """Write `clean.jsonl`, `unfiltered.jsonl`, `filtered.jsonl` and `bare.jsonl`; returns counts.

    Args:
        tables: folder of the synthetic tables.
        cohort: folder of the cohort that was extracted from them.
        codes: number of codes of the tables.
        seed: of the tables.
        out: folder for the files.
    """
    rng = random.Random(seed)
    clean: dict[str, str] = {}
    dirty: dict[str, str] = {}
    kept: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("planted", "caught", "lost")}
    earlier: list[Example] = []
    seen = Seen(SIMILARITY)
    for identity, example in _examples(tables, cohort, codes, seed):
        rule = rng.choice(PLANTED) if rng.random() < FAULTY else None
        answer = None if rule is None else _fault(rule, example, rng, earlier)
        text, truncated = answer or (written(example.trace, example.code), False)
        found = judged(example, seen, text, truncated)
        clean[identity], trace = example.trace, read(text, truncated=truncated, own_prompt=False).trace
        dirty[identity] = trace or example.trace
        if not found:
            kept[identity] = dirty[identity]
        if answer is not None:
            counts["planted"][str(rule)] += 1
            counts["caught"][str(rule)] += bool(found)
        elif found:
            counts["lost"][str(found[0])] += 1
        earlier.append(example)
    bare = dict.fromkeys(clean, BARE)
    for name, traces in {"clean": clean, "unfiltered": dirty, "filtered": kept, "bare": bare}.items():
        lines = (json.dumps({"id": identity, "trace": trace}) + "\n" for identity, trace in traces.items())
        (out / f"{name}.jsonl").write_text("".join(lines))
    return {"traces": len(clean), "kept": len(kept), **{name: dict(found) for name, found in counts.items()}}


def _fault(rule: Rule, example: Example, rng: random.Random, earlier: list[Example]) -> tuple[str, bool] | None:
    """The teacher's answer with a fault; None where the example does not allow it.

    A wrong code comes with the reasoning to it, and a near-duplicate is that of an earlier admission with the same code.
    """
    same = [one for one in earlier if one.code == example.code]
    others = [one for one in earlier if one.code != example.code]
    if not same or not others:
        return None
    if rule is Rule.CODE:
        other = rng.choice(others)
        return written(other.trace, other.code), False
    if rule is Rule.SIMILAR:
        return FAULTS[rule](rng.choice(same), rng, others)
    return FAULTS[rule](example, rng, rng.sample(others, min(12, len(others))))


def _examples(tables: Path, cohort: Path, codes: int, seed: int) -> Iterator[tuple[str, Example]]:
    """The training admissions that have a trace, by id."""
    known = {disease.code: disease for disease in diseases.choose(codes, random.Random(seed))}
    traces = {row["id"]: row["trace"] for row in map(json.loads, (tables / "traces.jsonl").read_text().splitlines())}
    summaries = _summaries(tables / "note" / "discharge.csv.gz")
    for row in pq.read_table(cohort / "train.parquet", columns=["id", "code"]).to_pylist():
        identity = row["id"]
        if identity not in traces:
            continue
        text, trace = summaries[identity], traces[identity]
        cut = extracted.cut(text)
        earlier, later = text[: cut["later"]], text[cut["later"] :]
        yield identity, Example(_case(known[row["code"]], trace), cut["note"], later_part(earlier, later), later, trace)


def _summaries(table: Path) -> Mapping[str, str]:
    rows = duckdb.sql(f"SELECT hadm_id, text FROM read_csv('{table}', header = true, all_varchar = true)").fetchall()
    return dict(rows)


def _case(disease: Disease, trace: str) -> cases.Case:
    """What the faults need of the case that a trace is of."""
    found = _TRACE.fullmatch(trace)
    if found is None:
        raise ValueError("a trace is not of the generator's form")
    return cases.Case(
        disease=disease, complaint=found["complaint"], findings=tuple(found["seen"].split(", ")), signs=(), stray=None,
        denied=found["denied"] or "", history=(), other=(), duration="", context="",
    )  # fmt: skip
