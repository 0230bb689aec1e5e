from __future__ import annotations

import pytest

from deepicd.cli.durations import duration
from deepicd.errors import UserError


def test_what_is_no_duration_is_refused_by_the_options_name() -> None:
    with pytest.raises(UserError, match=r"^--idle: .*\(got 'soon'\)$"):
        duration("--idle", "soon")
