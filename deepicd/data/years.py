"""The fiscal years that an admission of MIMIC-IV can be in.

Dates are shifted by patient: `anchor_year` is a shifted year, and its real year is one of `anchor_year_group` (`2014 - 2016`).
An admission in the shifted year y was therefore in one of the calendar years group + (y - anchor_year). A calendar year is in
two fiscal years. The fiscal year of the code is that of the discharge, whose real date is unknown, so both count: a group of
three years gives four fiscal years.
"""

GROUP = r"regexp_extract(trim({0}), '^(\d{{4}})\s*-\s*(\d{{4}})$', %d)"
"""SQL for the first (1) or last (2) year of an `anchor_year_group`; empty if the text is not such a group."""

FISCAL_YEARS = (
    "CASE WHEN group_first IS NOT NULL THEN "
    "[group_first + admit_year - anchor_year, group_last + admit_year - anchor_year + 1] END"
)
"""SQL for [first, last], or null if unknown, from the loaded tables `patients` and `admissions`."""
