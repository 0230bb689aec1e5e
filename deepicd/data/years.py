"""The fiscal years that an admission of MIMIC-IV can be in.

Dates are shifted by patient: `anchor_year` is a shifted year, and `anchor_year_group` (`2014 - 2016`) the real years
one of which it was. An admission in the shifted year y was therefore in one of the calendar years
group + (y - anchor_year). A calendar year touches two fiscal years, and neither the month nor the discharge that decides
on the code is known, so both count: a group of three years gives four fiscal years.
"""

GROUP = r"regexp_extract(trim({0}), '^(\d{{4}})\s*-\s*(\d{{4}})$', %d)"
"""SQL for the first (1) or last (2) year of an `anchor_year_group`; empty where it is no such group."""

FISCAL_YEARS = (
    "CASE WHEN group_first IS NOT NULL THEN "
    "[group_first + admit_year - anchor_year, group_last + admit_year - anchor_year + 1] END"
)
"""SQL for [first, last], null where they are not known, from the loaded tables `patients` and `admissions`."""
