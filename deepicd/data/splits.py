"""Assigns patients to splits, stratified by code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from deepicd.errors import UserError
from deepicd.spec.data import SplitSpec
from deepicd.spec.wording import expected

if TYPE_CHECKING:
    import duckdb

SPLITS = ("train", "validation", "test")

# 1/φ: any n consecutive multiples, modulo 1, are spread evenly over [0, 1) (Kronecker sequence).
_STEP = 0.6180339887498949


def assign(connection: duckdb.DuckDBPyConnection, spec: SplitSpec) -> None:
    """Create table `splits` (subject_id, split) from table `cohort` (subject_id, code).

    A patient's stratum is the rarest of their codes. Patients are sorted by stratum and, within a stratum, in an order that
    depends on the seed. The i-th patient goes to the split into whose share i/φ modulo 1 falls. Neighbours in that order have
    the same code, or at least the same category, so each code's patients are spread as evenly as possible over the splits, and
    the overall shares hold to within a few patients. All admissions of a patient are in one split.
    """
    connection.execute(
        """
        CREATE TABLE splits AS
        WITH frequency AS (SELECT code, count(DISTINCT subject_id) AS patients FROM cohort GROUP BY code),
        stratum AS (
            SELECT subject_id, arg_min(code, (patients, code)) AS code
            FROM cohort JOIN frequency USING (code) GROUP BY subject_id
        ),
        place AS (
            SELECT subject_id,
                   (row_number() OVER (ORDER BY code, md5($seed || ':' || subject_id), subject_id) * $step) % 1 AS turn
            FROM stratum
        )
        SELECT subject_id,
               CASE WHEN turn < $train THEN 'train' WHEN turn < $train + $validation THEN 'validation' ELSE 'test' END
               AS split
        FROM place
        """,
        {"seed": str(spec.seed), "step": _STEP, "train": spec.train, "validation": spec.validation},
    )


def take(connection: duckdb.DuckDBPyConnection) -> None:
    """Create table `splits` from the splits in table `people` (id, split) of the admissions in `cohort`."""
    connection.execute("CREATE TABLE splits AS SELECT DISTINCT subject_id, split FROM cohort JOIN people USING (id)")


def shares(spec: SplitSpec) -> dict[str, float]:
    """The requested share of the patients in each split."""
    return {"train": spec.train, "validation": spec.validation, "test": spec.test}


def split_spec(train: float, validation: float, test: float, seed: int) -> SplitSpec:
    """Make a SplitSpec from options of the command line.

    Raises:
        UserError: a share is not between 0 and 1, or the shares do not add up to 1.
    """
    try:
        return SplitSpec(train=train, validation=validation, test=test, seed=seed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = "".join(f"--{name}: " for name in first["loc"])
        message = f"{field}{expected(first)}"
        if not field:  # the rule of their sum
            message = f"--train, --validation, --test: train + validation + test is {train + validation + test:g}: make it 1"
    raise UserError(message)
