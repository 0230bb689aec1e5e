"""`deepicd.load_run`: a run's folder as tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd import prompt
from deepicd.api.score import score_as
from deepicd.errors import UserError
from deepicd.evaluation.result_files import read_metrics, read_rows, read_settings
from deepicd.rewards.sample import Sample, Score
from deepicd.run_layout import MODELS, TRAINING_STAGES, EvaluationLayout, RunLayout
from deepicd.spec.load import load, parse
from deepicd.spec.run import RunSpec

if TYPE_CHECKING:
    import pyarrow as pa

    from deepicd.evaluation.metrics_schema import Metrics

_PEOPLE = ("subject_id", "code", "sex", "age", "race", "insurance", "language")


def load_run(folder: str | PathLike[str]) -> Run:
    """Open the folder of a run, finished or not, or one to which `deepicd artifacts get` has fetched its results.

    Raises:
        UserError: the folder is neither, or this version cannot read its run.yaml.

    Example:
        >>> import deepicd
        >>> run = deepicd.load_run("runs/quickstart")
        >>> run.spec.reward.preset
        'deepicd'
        >>> run.predictions.select(["model", "id", "gold", "prediction"]).slice(0, 1).to_pylist()
        [{'model': 'sft', 'id': '0', 'gold': 'I10', 'prediction': 'I10'}]
        >>> run.metrics["grpo"]["levels"]["category"]["macroF1"]["value"]
        1.0
    """
    layout, fetched = RunLayout(Path(folder)), EvaluationLayout(Path(folder))
    if layout.spec.is_file():
        run, results = load(layout.spec), layout.evaluation
    elif fetched.about.is_file():
        run, results = parse(read_settings(fetched.about), str(fetched.about)), fetched
    else:
        raise UserError(
            f"{folder}: has neither run.yaml nor {fetched.about.name}: give the folder of a run, such as runs/quickstart, "
            "or the one that `deepicd artifacts get` wrote"
        )
    return Run(layout.folder, run.metadata.name, run.spec, results)


@dataclass(frozen=True)
class Run:
    """A run's folder. Tables are pyarrow's: `.to_pandas()` makes them DataFrames where pandas is installed.

    Each access reads the files again, so a run in progress can be followed. What a stage has not written yet is a UserError
    that says so. Note text is read only by `cohort(notes=True)`.
    """

    folder: Path
    """The folder."""
    name: str
    """The run's name."""
    spec: RunSpec = field(repr=False)
    """`spec` of its run.yaml, with every default."""
    _results: EvaluationLayout = field(repr=False, compare=False)

    @property
    def predictions(self) -> pa.Table:
        """A row for each model and admission of the test split.

        Columns: `model` (base, sft, grpo), `id`, `subject_id`, `gold`, `prediction`, `faults` (a list), `reward`,
        `fiscal_years`, `local_gold`, `samples` (codes of the sampled completions), and `terms.NAME` for each term of the
        reward, `confidence.LEVEL` and `variants.NAME` where the evaluation has them.
        """
        import pyarrow as pa

        from deepicd.evaluation import predictions

        table = predictions.read_table(self._results.predictions)
        for column, kind in (("terms", pa.float64()), ("confidence", pa.float64()), ("variants", pa.string())):
            if column not in table.column_names:
                continue
            cells = [dict(row or ()) for row in table[column].to_pylist()]
            table = table.drop_columns(column)
            for name in sorted({name for row in cells for name in row}):
                table = table.append_column(f"{column}.{name}", pa.array([row.get(name) for row in cells], kind))
        return table

    @property
    def metrics(self) -> dict[str, Metrics]:
        """The content of metrics.json: the metrics of each model, each with its definition."""
        return read_metrics(self._results.metrics)

    @property
    def measures(self) -> pa.Table:
        """The same numbers as rows.

        Columns: `model`, `metric` (its path, such as `levels.category.macroF1`), `value`, and `low` and `high`, the ends of its
        95 % interval.
        """
        import pyarrow as pa

        rows = [
            {"model": model, "metric": path, "value": value, "low": low, "high": high}
            for model, found in self.metrics.items()
            for path, (value, low, high) in _measures(found)
        ]
        kinds = {"model": pa.string(), "metric": pa.string(), **dict.fromkeys(("value", "low", "high"), pa.float64())}
        return pa.Table.from_pylist(rows, schema=pa.schema(kinds))

    @property
    def curves(self) -> pa.Table:
        """A row for each step of SFT and GRPO so far.

        Columns: `stage`, `step`, `reward`, `kl`, `loss`, `seconds`, `responseTokens`, `validationReward`, `validationLoss`, the
        diagnostics (`gradientNorm`, `entropy`, `clipped`, `rolloutDifference`, `groupsWithoutVariance`, `tokensPerSecond`,
        `mfu`, `gpuMemory`), and `terms.NAME`, the mean of each term of the reward over the validation split.
        """
        import pyarrow as pa

        from deepicd.run.curves import curve_rows

        rows = []
        written = curve_rows(self._layout) or (read_rows(self._results.curves) if self._results.curves.is_file() else [])
        for row in written:
            terms = row.pop("terms", None) or {}
            rows.append(row | {f"terms.{name}": value for name, value in terms.items()})
        names = dict.fromkeys(name for row in rows for name in row)
        return pa.table({name: _column([row.get(name) for row in rows]) for name in names})

    @property
    def prompts(self) -> dict[str, Any]:
        """The content of prompts.json: the prompt, the budgets in tokens, and how many notes were shortened."""
        from deepicd.data.prompts import FILE

        path = self._layout.stage("prepare").prompts / FILE
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _not_prepared(path) from None
        except ValueError:
            raise UserError(f"{path}: is damaged: delete stages/prepare.completed.json, then run again") from None
        return found

    @property
    def seconds(self) -> dict[str, float]:
        """Duration of each finished stage."""
        from deepicd.run.stage_record import seconds

        stages = ("prepare", "distill", *TRAINING_STAGES, "evaluate")
        found = {name: seconds(self._layout.stage(name).completed) for name in stages}
        return {name: spent for name, spent in found.items() if spent is not None}

    @property
    def models(self) -> dict[str, Path]:
        """Folder of each finished model, for vLLM or transformers."""
        makers = {name: self._layout.maker(name) for name in MODELS}
        return {name: maker.model for name, maker in makers.items() if maker.completed.is_file()}

    def cohort(self, *, notes: bool = False) -> pa.Table:
        """A row for each admission of the three splits.

        Columns: `split`, `id`, `subject_id`, `code`, `sex`, `age`, `race`, `insurance`, `language`, `fiscal_years`,
        `local_code`.

        Args:
            notes: add the column `note`: the note as the models saw it, within their budget. It is protected health
                information.
        """
        import pyarrow as pa

        return pa.concat_tables(self._splits(notes))

    def score(self, samples: Iterable[Sample]) -> list[Score]:
        """Score completions as the run does: by its reward, its prompt and the words of its training notes.

        Raises:
            UserError: a sample is not valid (see `deepicd.score`), or one of the run's own terms cannot be imported.
        """
        from deepicd.rewards import cohort_words

        cohort = cohort_words.of_run(self._layout.stages)
        return score_as(samples, self.spec.reward, opened_think=self.spec.model.opened_think, cohort=cohort)

    @property
    def _layout(self) -> RunLayout:
        return RunLayout(self.folder)

    def _splits(self, notes: bool) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from deepicd.data.prompts import read_notes
        from deepicd.data.rows import key
        from deepicd.data.splits import SPLITS
        from deepicd.data.tables import reading

        for split in SPLITS:
            path = self._layout.stage("prepare").prompts / f"{split}.parquet"
            if not path.is_file():
                raise _not_prepared(path)
            with reading(path):
                names = pq.read_schema(path).names
                table = pq.read_table(path, columns=[key(names), *_PEOPLE, "extra_info"])
            facts = table["extra_info"].to_pylist()
            columns = {
                "split": pa.array([split] * len(facts), pa.string()),
                "id": table[key(names)].cast(pa.string()),
                **{name: table[name] for name in _PEOPLE},
                "fiscal_years": pa.array([row.get("fiscal_years") for row in facts], pa.list_(pa.int32())),
                "local_code": pa.array([bool(row.get("local_code")) for row in facts], pa.bool_()),
            }
            if notes:
                asks = prompt.of(self.spec.model.prompt)
                columns["note"] = pa.array([note for _, note in read_notes(path, asks)], pa.string())
            yield pa.table(columns)


def _not_prepared(path: Path) -> UserError:
    return UserError(f"{path}: does not exist: give the folder of a run whose stage prepare has finished, on its machine")


def _column(values: list[Any]) -> pa.Array:
    """The values with the type that they have; numbers where all are missing."""
    import pyarrow as pa

    found = pa.array(values)
    return found.cast(pa.float64()) if pa.types.is_null(found.type) else found


def _measures(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, tuple[float | None, ...]]]:
    """Path, value and ends of the interval of each measure in nested metrics; chapters and groups by their name, other items of
    lists by their place.
    """
    if content.keys() >= {"value", "interval"}:
        yield path, (content["value"], *(content["interval"] or (None, None)))
        return
    for name, inner in content.items():
        below = f"{path}.{name}".lstrip(".")
        if isinstance(inner, list):
            for place, item in enumerate(inner):
                if isinstance(item, dict):
                    yield from _measures(item, f"{below}.{item.get('chapter', item.get('group', place))}")
        elif isinstance(inner, dict):
            yield from _measures(inner, below)
