"""Invariants hold for any order of events, seen late or twice, by one operator or two."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deepicd_operator.reconcile import Decision, reconcile
from deepicd_operator.snapshot import Snapshot
from deepicd_operator.status import RunStatus, read_status, write_status
from tests.unit.operator.builders import SETTINGS, JobMade, PodMade, Story, at, report

FAILURES: dict[str, Any] = {
    "crash": lambda pod: pod.ended(70),
    "bad input": lambda pod: pod.ended(64),
    "out of memory": lambda pod: pod.ended(137, "OOMKilled"),
    "evict": lambda pod: pod.ended(143).disrupted("EvictionByEvictionAPI"),
}
WHAT_HAPPENS = [
    *FAILURES,
    "place",
    "complete",
    "delete job",
    "suspend",
    "continue",
    "time",
    "long time",
    "lose node",
    "break",
    "fix",
    "change",
]


@dataclass
class World:
    """A model of the API server for one run: unique names, and versions of the status."""

    story: Story = field(default_factory=lambda: Story(recovery__maxAttempts=3))
    time: float = 0.0
    version: int = 0
    jobs: dict[int, JobMade] = field(default_factory=dict)
    pods: dict[int, PodMade] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    complete: set[int] = field(default_factory=set)
    """Attempts that have all their objects."""
    changes: int = 0
    """Number of changes of the spec: each may restart a failed run."""
    made: list[int] = field(default_factory=list)
    """Attempts in the order in which their Jobs were created."""
    events: list[str] = field(default_factory=list)
    history: list[RunStatus] = field(default_factory=list)

    def happen(self, what: str) -> None:
        number = self.story.status.attempt
        self.time += {"time": 15, "long time": 700}.get(what, 1)
        if what == "suspend":
            self.story.spec["suspend"] = True
        elif what == "continue":
            self.story.spec["suspend"] = False
        elif what == "break":
            self.story.spec["model"] = {}
        elif what == "fix":
            self.story.spec["model"] = {"tiny": {}, "dtype": "float32"}
        elif what == "change":
            self.story.generation += 1
            self.changes += 1
        elif what == "lose node":
            self.lost = frozenset({"node-1"})
            if number in self.pods and number in self.jobs and not self.jobs[number].view().finished:
                self.pods[number].disrupted("DeletionByTaintManager").deleting(at(self.time + 600))
        elif number in self.jobs and not self.jobs[number].view().finished:
            self._to_job(what, number)

    def _to_job(self, what: str, number: int) -> None:
        if what == "delete job":
            del self.jobs[number]
            self.pods.pop(number, None)
        elif what == "complete":
            self.jobs[number].complete()
            self.pods[number] = PodMade(number).ended(0)
        elif what == "place":
            self.pods[number] = PodMade(number).running(at(self.time))
        elif what in FAILURES:
            self.jobs[number].failed()
            self.pods[number] = FAILURES[what](PodMade(number))

    def seen(self) -> tuple[Snapshot, int]:
        objects: list[JobMade | PodMade] = [*self.jobs.values(), *self.pods.values()]
        progress = report(at(self.time)) if self.story.status.attempt in self.pods else None
        complete = self.story.status.attempt in self.complete
        return self.story.snapshot(*objects, progress=progress, lost=self.lost, complete=complete), self.version

    def reconcile(self, snapshot: Snapshot) -> Decision:
        return reconcile(snapshot, at(self.time), SETTINGS)

    def carry_out(self, plan: Decision, version: int, writes: int) -> bool:
        """Execute the first `writes` steps of a plan. False if the status had changed since it was read."""
        steps: list[Any] = [plan.status] if plan.status is not None else []
        steps += [*plan.delete, *(each for group in plan.create for each in group)]
        self.events += [event.identity for event in plan.events]
        for step in steps[:writes]:
            if isinstance(step, RunStatus):
                if version != self.version:
                    return False
                kept = read_status(write_status(step))
                assert kept == step
                self.story.status = kept
                self.version += 1
                self.history.append(kept)
            elif isinstance(step, dict):
                self._create_objects(step)
            elif step.kind == "Job":
                number = int(step.name.rpartition("-a")[2])
                if number in self.jobs and self.jobs[number].view().uid == step.uid:
                    del self.jobs[number]
                    self.pods.pop(number, None)
        return True

    def _create_objects(self, content: dict[str, Any]) -> None:
        number = int(content["metadata"]["labels"].get("deepicd.io/attempt", 0))
        if content["kind"] == "Job" and number not in self.jobs:
            self.made.append(number)
            self.jobs[number] = JobMade(number, uid=f"job-{number}-{len(self.made)}")

        elif content["kind"] == "ConfigMap":
            assert number in self.made
            self.complete.add(number)

    def settle(self) -> None:
        """Reconcile until there is nothing to do."""
        for _ in range(8):
            snapshot, version = self.seen()
            plan = self.reconcile(snapshot)
            self.carry_out(plan, version, 99)
            if plan.status is None and not plan.create and not plan.delete:
                return
        raise AssertionError("the plan is never empty")

    def check(self) -> None:
        at_work = [number for number, job in self.jobs.items() if not job.view().finished]
        assert len(at_work) <= 1
        assert [status.attempt for status in self.history] == sorted(status.attempt for status in self.history)
        assert self.complete >= {each.number for each in self.story.status.attempts if each.end and each.pod}
        ends = [status for status in self.history if status.finished]
        assert len({(status.state, status.reason, status.completion_time) for status in ends}) <= 1 + self.changes
        assert len({status.completion_time for status in ends if status.state == "Succeeded"}) <= 1
        if ends and (ends[-1].state == "Succeeded" or not self.changes):
            assert self.story.status.finished
        if self.story.status.finished:
            assert not at_work


STEPS = st.lists(st.tuples(st.sampled_from(WHAT_HAPPENS), st.integers(0, 9), st.booleans()), max_size=25)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_promises_hold_when_the_operator_is_killed_after_any_write_and_restarted(steps: list[tuple[str, int, bool]]) -> None:
    world = World()
    for what, writes, killed in steps:
        if killed:
            snapshot, version = world.seen()
            world.carry_out(world.reconcile(snapshot), version, writes)
        world.settle()
        world.check()
        world.happen(what)
    world.settle()
    world.check()


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_promises_hold_when_another_operator_acts_on_a_view_that_is_late(steps: list[tuple[str, int, bool]]) -> None:
    world = World()
    late, late_version = world.seen()
    for what, writes, renew in steps:
        world.settle()
        world.happen(what)
        if renew:
            late, late_version = world.seen()
        if late.status.attempt == world.story.status.attempt:
            # A missing Job is read from the API server before any decision, and so is the run after a conflict.
            world.carry_out(world.reconcile(late), late_version, writes)
        world.settle()
        world.check()


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_a_second_reconcile_at_the_same_time_finds_nothing_to_do(steps: list[tuple[str, int, bool]]) -> None:
    world = World()
    for what, _, _ in steps:
        world.happen(what)
        world.settle()
        snapshot, _ = world.seen()
        plan = world.reconcile(snapshot)
        assert (plan.status, plan.create, plan.delete, plan.events) == (None, (), (), ())


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_event_is_written_twice_under_two_names(steps: list[tuple[str, int, bool]]) -> None:
    world = World()
    for what, _, _ in steps:
        world.settle()
        world.happen(what)
    starts = [identity for identity in world.events if identity.endswith("/start")]
    assert len(starts) == len(set(starts)) == world.story.status.attempt


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "data", "stages", "grpo", "compute", "gpus", "recovery", "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_spec_gets_an_answer_that_names_the_field_and_never_an_error(content: Any) -> None:
    story = Story()
    story.spec = content
    story.now(0)
    status, reason = story.condition("Accepted")
    assert (status, reason) in {("False", "InvalidSpec"), ("False", "UnknownField")}
    assert "spec" in story.message("Accepted")
    assert story.made == []
