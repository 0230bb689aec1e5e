"""What an override may say: its syntax, its key and the type of its value. Knows Hydra, and verl's configuration as YAML."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from deepicd.training.owned_settings import instead_of

LOGGER = "trainer.logger"


class BadOverrideError(ValueError):
    """An override that is refused; the text says what is wrong and what to do."""


def parsed(text: str) -> Any:
    """An override as Hydra reads it (its `Override`).

    Raises:
        BadOverrideError: it does not set exactly one key.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        found = OverridesParser.create().parse_override(text)
    except HydraException:  # its text has the names of its parser's classes
        found = None
    if found is None or not found.key_or_group:
        raise BadOverrideError("is not KEY=VALUE: put a value with spaces, commas or brackets into quotes, as in KEY='a, b'")
    if found.is_delete():
        raise BadOverrideError("removes a setting: verl needs them all: give it a value instead")
    if found.is_sweep_override():
        raise BadOverrideError("gives several values: give one, or a list in brackets, as in KEY=[a,b]")
    return found


def with_file_logger(overrides: tuple[str, ...]) -> list[str]:
    """The overrides, with verl's `file` logger among the chosen ones: DeepICD follows training by its file."""
    return [_with_file(text) for text in overrides]


def _with_file(text: str) -> str:
    if LOGGER not in text:  # the parser takes a moment to load
        return text
    try:
        found = parsed(text)
    except BadOverrideError:  # the check of the overrides names it
        return text
    if found.key_or_group != LOGGER:
        return text
    value = found.value()
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return f"{LOGGER}=[{','.join(dict.fromkeys(['file', *map(str, names)]))}]"


def check_override(stage: str, text: str, config: Any) -> None:
    """Refuse an override that has no valid syntax, or a key or value that cannot be set.

    Args:
        stage: `sft` or `grpo`.
        text: the override.
        config: verl's configuration of the stage without the user's overrides.

    Raises:
        BadOverrideError: it is refused.
    """
    found = parsed(text)
    _check_key(stage, found, config)
    _check_plain_value(found, config)


def _check_key(stage: str, found: Any, config: Any) -> None:
    """Check that the key is one of verl's, and that users may set it."""
    key = found.key_or_group
    if (remedy := instead_of(stage, key)) is not None:
        raise BadOverrideError(f"{key} is set by DeepICD itself: {remedy}")
    known = dict(_keys(config))
    if found.is_add() and key in known:
        raise BadOverrideError(f"verl has {key} already: leave the + out")
    if key in known or found.is_add() or found.is_force_add() or "/" in key:
        return
    near = _nearest(key, list(known))
    raise BadOverrideError(f"verl has no setting {key}: " + (f"did you mean {near}?" if near else "see show-config --verl"))


def _check_plain_value(found: Any, config: Any) -> None:
    """Check that the value has the type in verl's configuration, if no dataclass of verl's declares one."""
    from omegaconf import OmegaConf

    known, key = dict(_keys(config)), found.key_or_group
    value, default = found.value(), known.get(key)
    if value is None or default is None or (isinstance(value, str) and "${" in value) or key == LOGGER:
        return
    if f"{key.rpartition('.')[0]}._target_" in known:
        return
    if OmegaConf.is_dict(default) and not isinstance(value, dict):
        raise BadOverrideError(f"{key} is a section: set only the parts that you need, each with its own override")
    default = OmegaConf.to_container(default) if OmegaConf.is_config(default) else default
    allowed: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(default, str):
        allowed = (str, int, float)
    if not isinstance(value, allowed) or (isinstance(value, bool) and not isinstance(default, bool)):
        raise BadOverrideError(f"{key} takes {_WORDS[type(default)]}, as {default}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", list: "a list", dict: "settings"}


def _keys(config: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a configuration with its value; None where it cannot be resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for name in config:
        key = f"{place}.{name}" if place else str(name)
        try:
            value = config[name]
        except OmegaConfBaseException:  # mandatory, or refers to what is not there
            value = None
        yield key, value
        if OmegaConf.is_dict(value):
            yield from _keys(value, key)


def _nearest(key: str, known: list[str]) -> str | None:
    """The known key that is spelled most like this one, or that has the same last words elsewhere."""
    ends = [name for name in known if name.endswith(f".{key.rpartition('.')[2]}")]
    for some, cutoff in ((known, 0.85), (ends, 0.0), (known, 0.6)):
        if near := difflib.get_close_matches(key, some, n=1, cutoff=cutoff):
            return near[0]
    return None
