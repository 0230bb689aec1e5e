from __future__ import annotations

import pytest

from deepicd.evaluation.report import Report, html
from tests.unit.evaluation.report.reports import made_report


@pytest.fixture(scope="session")
def report() -> Report:
    return made_report()


@pytest.fixture(scope="session")
def page(report: Report) -> str:
    return html(report)
