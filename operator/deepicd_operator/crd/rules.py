"""CEL rules: what the models' validators check across fields, for the API server to check as well."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepicd.spec.compute import QUALIFIED_PATTERN
from deepicd.spec.data import NOTE_COLUMNS
from deepicd.spec.model import HEAD_SIZES
from deepicd.spec.reward import DEFAULT_WEIGHTS, PRESETS

RUN_NAME = r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"


@dataclass(frozen=True)
class Rule:
    """One check; the API server refuses the object with the message where the expression is false."""

    expression: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """The rule as the schema has it, `{field}` written out."""
        return {"rule": re.sub(r"\{([a-zA-Z][a-zA-Z0-9.]*)\}", _given, self.expression), "message": self.message}


def _given(match: re.Match[str]) -> str:
    return f"has(self.{match[1]})"


def _exactly_one(*fields: str) -> Rule:
    counted = " + ".join(f"({{{field}}} ? 1 : 0)" for field in fields)
    return Rule(f"{counted} == 1", f"give exactly one of {', '.join(fields)}")


def _fixed(field: str) -> Rule:
    """A field that an attempt was made from: results of two values must not be mixed in one run."""
    place = f"spec.{field}"
    same = f"(has(self.{place}) ? self.{place} : null) == (has(oldSelf.{place}) ? oldSelf.{place} : null)"
    if field in {"model", "data", "stages", "seed", "reward", "compute.gpus", "compute.nodes"}:
        same = f"self.{place} == oldSelf.{place}"
    return Rule(
        f"!has(oldSelf.status) || !has(oldSelf.status.attempt) || oldSelf.status.attempt == 0 || {same}",
        f"{place} cannot change once the run has started: undo the change, or delete the run and apply it under another name",
    )


_TERMS = str(list(DEFAULT_WEIGHTS))
_WEIGHTS = str({term: float(weight) for term, weight in DEFAULT_WEIGHTS.items()})
_RANKS = "self.compute.gpus * self.compute.nodes"

RULES: dict[str, tuple[Rule, ...]] = {
    "DeepICDRun": (
        Rule("size(self.metadata.name) <= 52", "metadata.name: is longer than 52 characters: shorten it"),
        Rule(
            f"self.metadata.name.matches('{RUN_NAME}')",
            "metadata.name: must be lower-case letters, digits and dashes, without dots",
        ),
        Rule(
            "self.spec.compute.nodes == 1 || size(self.metadata.name) <= 42",
            "metadata.name: KubeRay takes at most 42 characters with compute.nodes > 1: shorten it",
        ),
        *(_fixed(field) for field in ("seed", "model", "data", "reward", "stages", "storage", "compute.gpus", "compute.nodes")),
    ),
    "RunSpec": (
        Rule(
            "!{stages.sft} || {data.synthetic} || {data.traces}",
            "stages.sft learns from reasoning traces: give data.traces, or leave stages.sft out",
        ),
        Rule(
            "!{stages.sft} || self.stages.sft.trainBatchSize % (self.stages.sft.microBatchSizePerGpu * self.compute.gpus) == 0",
            "stages.sft.trainBatchSize is not a multiple of microBatchSizePerGpu × compute.gpus",
        ),
        Rule(
            "!{stages.grpo} || (self.stages.grpo.ppoMiniBatchSize * self.stages.grpo.rollouts) % "
            f"(self.stages.grpo.microBatchSizePerGpu * {_RANKS}) == 0",
            "stages.grpo.ppoMiniBatchSize × rollouts is not a multiple of microBatchSizePerGpu × compute.gpus × compute.nodes",
        ),
        Rule(
            "!{stages.grpo} || self.compute.gpus % self.stages.grpo.tensorParallel == 0",
            "compute.gpus is not a multiple of stages.grpo.tensorParallel",
        ),
    ),
    "StagesSpec": (Rule("{sft} || {grpo} || {evaluate}", "no stage is given: add sft, grpo or evaluate"),),
    "DataSpec": (
        _exactly_one("mimic", "notes", "synthetic", "prepared"),
        Rule(
            "!{prepared} || (self.split.train == 0.7 && self.split.validation == 0.1 && self.split.test == 0.2 "
            "&& self.split.seed == 42)",
            "split: a prepared folder is split already: remove the field",
        ),
        Rule("!{synthetic} || !{traces}", "traces: synthetic data bring their own: remove the field"),
    ),
    "NotesSource": (
        Rule(
            f"self.columns.all(name, name in {list(NOTE_COLUMNS)})",
            f"columns: a name is no column of notes: these are {', '.join(NOTE_COLUMNS)}",
        ),
    ),
    "SplitSpec": (
        Rule(
            "self.train + self.validation + self.test > 0.999999 && self.train + self.validation + self.test < 1.000001",
            "train + validation + test must be 1",
        ),
    ),
    "ModelSpec": (_exactly_one("path", "tiny"),),
    "TinyModel": (
        Rule(
            f"self.hiddenSize % self.heads == 0 && (self.hiddenSize / self.heads) in {list(HEAD_SIZES)}",
            f"heads: they do not divide hiddenSize into one of {', '.join(str(size) for size in HEAD_SIZES)}",
        ),
    ),
    "RewardSpec": (
        *(
            Rule(
                f"self.preset != '{name}' || "
                f"self.weights.all(term, term in {_WEIGHTS} && self.weights[term] == {_WEIGHTS}[term])",
                f"weights: the preset '{name}' has fixed weights: remove them or use preset 'deepicd'",
            )
            for name, preset in PRESETS.items()
            if not preset.own_weights
        ),
        Rule(
            f"self.preset != 'deepicd' || self.weights.all(term, term in {_TERMS})",
            f"weights: a name is no term of the preset 'deepicd': its terms are {', '.join(DEFAULT_WEIGHTS)}",
        ),
        Rule(
            f"self.preset != 'deepicd' || {_TERMS}.exists(term, !(term in self.weights) || self.weights[term] > 0.0)",
            "weights: all are 0, so every completion scores the same: give one term a weight",
        ),
    ),
    "SftSpec": (
        Rule(
            "self.trainBatchSize % self.microBatchSizePerGpu == 0", "trainBatchSize is not a multiple of microBatchSizePerGpu"
        ),
    ),
    "GrpoSpec": (
        Rule("self.trainBatchSize % self.ppoMiniBatchSize == 0", "trainBatchSize is not a multiple of ppoMiniBatchSize"),
        Rule(
            "(self.ppoMiniBatchSize * self.rollouts) % self.microBatchSizePerGpu == 0",
            "ppoMiniBatchSize × rollouts is not a multiple of microBatchSizePerGpu",
        ),
    ),
    "StorageSpec": (_exactly_one("s3", "folder"),),
    "S3Spec": (
        Rule("!self.prefix.split('/').exists(part, part == '.' || part == '..')", "prefix: a part of it cannot be '.' or '..'"),
    ),
    "S3Credentials": (_exactly_one("secretName", "secretFolder"),),
    "S3Encryption": (Rule("!{kmsKeyId} || self.type == 'kms'", "kmsKeyId goes with type: kms"),),
    "EnvironmentVariable": (
        _exactly_one("value", "secret"),
        Rule("!self.name.startsWith('DEEPICD_')", "name: names that begin with DEEPICD_ are the operator's: choose another"),
    ),
    "Toleration": (
        Rule("{key} || self.operator == 'Exists'", "operator: must be Exists where key is left out"),
        Rule("!{value} || self.operator != 'Exists'", "value: has no effect with operator Exists: remove it"),
        Rule(
            "!{tolerationSeconds} || ({effect} && self.effect == 'NoExecute')", "tolerationSeconds: goes with effect NoExecute"
        ),
    ),
    "DataVolume": (_exactly_one("claim", "configMap", "secret"),),
    "UploaderSpec": (
        Rule("!{cpuLimit} || self.cpuLimit >= self.cpu", "cpuLimit is less than cpu: raise it or lower cpu"),
        Rule(
            "!{memoryLimit} || quantity(self.memoryLimit).compareTo(quantity(self.memory)) >= 0",
            "memoryLimit is less than memory: raise it or lower memory",
        ),
    ),
    "ServiceAccountSpec": (
        Rule(
            "!{name} || size(self.annotations) == 0",
            "annotations: an existing ServiceAccount is not changed: remove them, or remove name",
        ),
        Rule(
            f"self.annotations.all(key, key.matches('{QUALIFIED_PATTERN}'))",
            "annotations: a key is no annotation's name",
        ),
    ),
    "ComputeSpec": (
        Rule("!{cpu} || !{cpuLimit} || self.cpuLimit >= self.cpu", "cpuLimit is less than cpu: raise it or lower cpu"),
        Rule(
            "!{memory} || quantity(self.memory).compareTo(quantity(self.sharedMemory)) >= 0",
            "memory is less than sharedMemory, which is a part of it: raise it or lower sharedMemory",
        ),
        Rule(
            "self.nodes == 1 || {scratch.storageClass}",
            "scratch.storageClass is needed with nodes above 1: give a class of volumes that many nodes can write "
            "(ReadWriteMany)",
        ),
        Rule(f"self.nodeSelector.all(key, key.matches('{QUALIFIED_PATTERN}'))", "nodeSelector: a key is no label's name"),
    ),
}
"""Rules of each model, by its class's name."""
