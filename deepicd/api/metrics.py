"""`deepicd.metrics`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepicd import icd10
from deepicd.errors import UserError

if TYPE_CHECKING:
    from deepicd.evaluation.metrics_schema import Metrics


def metrics(
    gold: Sequence[str],
    predicted: Sequence[str | None],
    *,
    patients: Sequence[object] | None = None,
    train_counts: Mapping[str, int] | None = None,
    local_codes: Collection[str] = (),
    fiscal_years: Sequence[tuple[int, int] | None] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Compute the metrics of any model's answers, as `deepicd metrics` does: the content of metrics.json for one model.

    Dots, case and surrounding space of codes are ignored.

    Args:
        gold: [N] the right codes.
        predicted: [N] the answers; None or NaN for a missing one.
        patients: [N] the patient of each admission, the unit of the 95 % intervals. By default each admission is a patient of
            its own, which makes the intervals too narrow where patients come back.
        train_counts: admissions of the training set per code, for F1 by code frequency.
        local_codes: the hospital's own codes, which no release of ICD-10-CM needs to have.
        fiscal_years: [N] the first and last fiscal year that each admission can be in, None where unknown; adds the rate of
            codes of other years.
        bootstrap: number of samples for the intervals; 0 leaves the intervals out.
        seed: seed of the samples.

    Returns:
        A nested dict with the definition of each number under `definitions`; a number has a `value` and an `interval`.

    Raises:
        UserError: an argument is not a sequence, they differ in length or are empty, or a right code was never billable. The
            message names the position, counted from 0.

    Example:
        >>> import deepicd
        >>> found = deepicd.metrics(["M51.16", "I10", "I10"], ["M5117", "i10", None], bootstrap=0)
        >>> found["levels"]["category"]["accuracy"]["value"]
        0.6666666666666666
        >>> found["rates"]["missing"]["value"]
        0.3333333333333333
    """
    from deepicd.evaluation import external
    from deepicd.evaluation.metrics import compute

    for name, codes in {"gold": gold, "predicted": predicted}.items():
        if isinstance(codes, str | bytes) or not (hasattr(codes, "__len__") and hasattr(codes, "__iter__")):
            raise UserError(f"{name}: is a {type(codes).__name__}: give a sequence of codes, one per admission")
    columns = {"predicted": predicted, "patients": patients, "fiscal_years": fiscal_years}
    for name, column in columns.items():
        if column is not None and len(column) != len(gold):
            raise UserError(f"{name}: has {len(column)} entries, gold has {len(gold)}: give one per admission")
    local = {icd10.normalise(code) for code in local_codes}
    answers = []
    for place, (code, answer) in enumerate(zip(gold, predicted, strict=True)):
        where = f"admission [{place}]"
        record: dict[str, Any] = {
            "id": place,
            "subject_id": place if patients is None else _patient(patients[place], where),
            "gold": code,
            "prediction": None if _is_missing(answer) else answer,
            "local_gold": isinstance(code, str) and icd10.normalise(code) in local,
        }
        if fiscal_years is not None and (years := fiscal_years[place]) is not None:
            record["fiscal_years"] = list(years)
        answers.append(external.prediction_of(record, where))
    counts = None if train_counts is None else external.check_counts(train_counts, "train_counts", local)
    return compute(answers, train_counts=counts, local_codes=local, bootstrap_samples=bootstrap, seed=seed)


def _patient(value: object, where: str) -> str:
    if _is_missing(value):
        raise UserError(f"{where}: patients: is missing: give every admission its patient, or leave patients out")
    return str(value)


def _is_missing(value: object) -> bool:
    """None, or NaN, by which pandas marks a missing value."""
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124 - only NaN differs from itself
