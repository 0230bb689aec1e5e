"""The judges of a run: the one of the reward, and a second one for the validation split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepicd.spec.environment import JUDGE_API_KEY, JUDGE_ENDPOINT, SECOND_JUDGE_API_KEY, SECOND_JUDGE_ENDPOINT
from deepicd.spec.judge import JudgeModelSpec, JudgeSpec


@dataclass(frozen=True, slots=True)
class Role:
    """One of the judges."""

    who: str
    """What messages call it."""
    field: str
    """Its field of run.yaml."""
    endpoint_variable: str
    """Variable with the address of its server, if the run starts one."""
    key_variable: str
    """The same for the key: of that server, or of its endpoint."""
    served_name: str
    """Name of its model on a server that the run has started."""

    def model(self, spec: JudgeSpec) -> JudgeModelSpec | None:
        """Its model in a run; None if the run has no such judge."""
        return spec if self is FIRST else spec.second


FIRST = Role("the judge", "reward.judge", JUDGE_ENDPOINT, JUDGE_API_KEY, "judge")
SECOND = Role("the second judge", "reward.judge.second", SECOND_JUDGE_ENDPOINT, SECOND_JUDGE_API_KEY, "second-judge")


def roles_of(spec: JudgeSpec) -> Iterator[tuple[Role, JudgeModelSpec]]:
    """The judges that a run has, with their models."""
    for role in (FIRST, SECOND):
        if (model := role.model(spec)) is not None:
            yield role, model
