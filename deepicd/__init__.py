"""DeepICD: train and evaluate reasoning models that predict ICD-10-CM codes. Research use only.

In Python and in notebooks, `import deepicd` offers what the commands `reward`, `metrics` and `icd10` do, and the tables of a
run. Each name is imported when it is first used, so the import itself costs nothing.

    >>> import deepicd
    >>> deepicd.parse("Weak toe extension fits L5.</think> <diagnosis>M51.16</diagnosis>").code
    'M5116'
    >>> deepicd.icd10.description("M5116")
    'Intervertebral disc disorders with radiculopathy, lumbar region'
"""

TYPE_CHECKING = False  # importing it from typing would be most of the time that this import takes; type checkers know the name
if TYPE_CHECKING:
    from deepicd import icd10
    from deepicd.api.metrics import metrics
    from deepicd.api.run import Run, load_run
    from deepicd.api.score import score
    from deepicd.completion import Completion, Fault, parse
    from deepicd.errors import UserError
    from deepicd.rewards.sample import Sample, Score
    from deepicd.spec.run import RunSpec

    __version__: str

__all__ = [
    "Completion",
    "Fault",
    "Run",
    "RunSpec",
    "Sample",
    "Score",
    "UserError",
    "__version__",
    "icd10",
    "load_run",
    "metrics",
    "parse",
    "score",
]

_MODULES = {
    "Completion": "deepicd.completion",
    "Fault": "deepicd.completion",
    "Run": "deepicd.api.run",
    "RunSpec": "deepicd.spec.run",
    "Sample": "deepicd.rewards.sample",
    "Score": "deepicd.rewards.sample",
    "UserError": "deepicd.errors",
    "load_run": "deepicd.api.run",
    "metrics": "deepicd.api.metrics",
    "parse": "deepicd.completion",
    "score": "deepicd.api.score",
}

if not TYPE_CHECKING:  # otherwise type checkers would take every name for known

    def __getattr__(name):
        """Import what the name stands for, once."""
        from importlib import import_module

        if name == "__version__":
            from importlib.metadata import version

            found = version("deepicd")
        elif name == "icd10":
            found = import_module("deepicd.icd10")
        elif name in _MODULES:
            found = getattr(import_module(_MODULES[name]), name)
        else:
            raise AttributeError(f"module 'deepicd' has no attribute '{name}'")
        globals()[name] = found
        return found

    def __dir__():
        return sorted({*globals(), *__all__})
