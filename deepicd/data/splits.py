"""Assigning patients to splits, stratified by code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from deepicd.errors import UserError
from deepicd.spec.data import SplitSpec

if TYPE_CHECKING:
    import duckdb

SPLITS = ("train", "validation", "test")

# 1/φ: any run of n neighbouring multiples, modulo 1, falls evenly into [0, 1) (Kronecker sequence).
_STEP = 0.6180339887498949


def assign(connection: duckdb.DuckDBPyConnection, spec: SplitSpec) -> None:
    """Make table `splits` (subject_id, split) from table `cohort` (subject_id, code).

    A patient's stratum is the rarest of their codes. Patients are laid out by stratum and, within one, in an order
    drawn from the seed; the i-th patient goes where i/φ modulo 1 falls among the shares. Neighbours in that order
    share a code, or at least a category, so each code's patients are spread over the splits as evenly as whole
    patients allow, and the overall shares hold to within a few patients. All admissions of a patient stay together.
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
    """Make table `splits` of what table `people` (id, split) says of the admissions in `cohort`."""
    connection.execute("CREATE TABLE splits AS SELECT DISTINCT subject_id, split FROM cohort JOIN people USING (id)")


def shares(spec: SplitSpec) -> dict[str, float]:
    """The share of the patients that each split is asked to have."""
    return {"train": spec.train, "validation": spec.validation, "test": spec.test}


def split_spec(train: float, validation: float, test: float, seed: int) -> SplitSpec:
    """Make a SplitSpec of what a user gave on the command line.

    Raises:
        UserError: a share is not between 0 and 1, or they do not add up to 1.
    """
    try:
        return SplitSpec(train=train, validation=validation, test=test, seed=seed)
    except ValidationError as error:
        first = error.errors()[0]
        field = "".join(f"--{name}: " for name in first["loc"])
        message = f"{field}{first['msg'].removeprefix('Value error, ')}"
        if not field:  # the rule of their sum
            message = f"--train, --validation, --test: train + validation + test is {train + validation + test:g}: make it 1"
    raise UserError(message)
