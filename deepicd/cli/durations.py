"""Options whose value is a duration, such as `90s` or `2h`."""

from __future__ import annotations

from datetime import timedelta

from deepicd.errors import UserError
from deepicd.spec.base import parse_duration


def duration(option: str, text: str) -> timedelta:
    """The value of an option.

    Raises:
        UserError: it is not a duration; names the option.
    """
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option}: {error} (got '{text}')") from None
