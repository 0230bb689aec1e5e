"""The page of `deepicd compare`: the models of several runs in one file, in the style of the report."""

from deepicd.evaluation.report.compared.inputs import Compared, Run
from deepicd.evaluation.report.compared.page import html, write_page

__all__ = ["Compared", "Run", "html", "write_page"]
