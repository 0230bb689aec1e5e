"""report.html of a run: one file that opens without a network and contains no note text.

It uses only numbers, codes and settings: no field of `Report` can contain a note. Each file of `sections` makes one section
from a `Report`; `page` puts them together.
"""

from deepicd.evaluation.report.comparisons import difference
from deepicd.evaluation.report.inputs import Report, load, load_results
from deepicd.evaluation.report.page import html, write_report

__all__ = ["Report", "difference", "html", "load", "load_results", "write_report"]
