"""English function words, and pairs of them that English does not have: they tell sentences from lists and word salad.

`should` is left out: its first six letters are also those of `shoulder`.
"""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """The part that a word plays in a sentence."""

    CONTENT = 0
    """Any word that is not listed here."""
    FUNCTION = 1
    """A function word of none of the kinds below."""
    DETERMINER = 2
    """A determiner that needs a noun after it."""
    PREPOSITION = 3
    """A preposition that needs a noun after it. `in`, `on`, `off`, `over` and `up` also occur alone: they are FUNCTION."""
    COORDINATOR = 4
    SUBORDINATOR = 5
    VERB = 6
    """A finite form of be or have."""
    SUBJECT = 7
    """A pronoun that needs a verb after it."""
    MODAL = 8
    NO_NOUN = 9
    """Any other word that cannot come between a determiner and its noun."""


_DETERMINERS = "a an every its my no our the their your"
_PREPOSITIONS = "at by during for from into of with without"
_COORDINATORS = "and but nor or"
_SUBORDINATORS = "although if whereas"
_VERBS = "are had has is was were"
_SUBJECTS = "he i she they we"
_MODALS = "can could may might must will would"
_NO_NOUN = """
always be been being cannot did do does him however it itself never not since than that them then there these this those
through unless until when where which while who whom whose
"""
_OTHERS = """
about above after again against all almost also am among another any as away back before behind below beside between beyond
both down each either else enough even ever few further have hence her here hers his how in indeed instead just less like many
me more most much neither none now off on once one only onto other others out outside over own per quite rather so some still
such though throughout thus till to together too toward towards under up upon us very via what whether why
within yet you
"""
_SHARED = """
a af all also am an ards are as at be bnp copd ct cta dm do ecg ekg for had has have he her hers him hr icu in is it l may me
mi mri no not nstemi of off on once one or over own pe r she sirs so stemi such tb tia to too under via was we will yet
you
"""

WORDS = {
    Kind.DETERMINER: _DETERMINERS.split(),
    Kind.PREPOSITION: _PREPOSITIONS.split(),
    Kind.COORDINATOR: _COORDINATORS.split(),
    Kind.SUBORDINATOR: _SUBORDINATORS.split(),
    Kind.VERB: _VERBS.split(),
    Kind.SUBJECT: _SUBJECTS.split(),
    Kind.MODAL: _MODALS.split(),
    Kind.NO_NOUN: _NO_NOUN.split(),
    Kind.FUNCTION: _OTHERS.split(),
}

SHARED = frozenset(_SHARED.split())
"""Function words and shorthand (abbreviations.py) that other European languages have too: they do not make a text English."""

_NO_PHRASE = {Kind.PREPOSITION, Kind.COORDINATOR, Kind.SUBORDINATOR, Kind.VERB, Kind.SUBJECT, Kind.MODAL}
NEVER = (
    (Kind.DETERMINER, _NO_PHRASE | {Kind.DETERMINER, Kind.NO_NOUN}),
    (Kind.PREPOSITION, _NO_PHRASE),
    (Kind.COORDINATOR, {Kind.COORDINATOR}),
    (Kind.SUBORDINATOR, {Kind.COORDINATOR, Kind.SUBORDINATOR, Kind.VERB, Kind.MODAL}),
    (Kind.VERB, {Kind.VERB, Kind.MODAL}),
    (Kind.SUBJECT, {Kind.DETERMINER, Kind.PREPOSITION, Kind.SUBORDINATOR, Kind.SUBJECT}),
    (Kind.MODAL, {Kind.PREPOSITION, Kind.COORDINATOR, Kind.VERB, Kind.MODAL}),
)
"""Kinds that hardly any sentence has side by side: `the of`, `with is`, `and or`, `was has`. Idioms do: `with and without`."""
