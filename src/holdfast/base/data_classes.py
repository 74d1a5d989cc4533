"""The data classes that ship: the one declaration of their ids, names and order of sensitivity.

A data class is sensitivity, retention and keys together. The ids are those of the format (docs/format); 64 and up are the
site's own, which rank after these.
"""

from __future__ import annotations

from holdfast.base.values import dataclass

__all__ = ["CLASS_NAMES", "DATA_CLASSES", "DEFAULT_CLASS", "DataClass", "class_rank"]


@dataclass(frozen=True, slots=True)
class DataClass:
    """One data class: its id in the format, its name, and what belongs in it."""

    id: int
    name: str
    sentence: str


DATA_CLASSES = (
    DataClass(
        2, "phi-restricted", "Health information with rules of its own: 42 CFR Part 2 records, psychotherapy notes."
    ),
    DataClass(1, "phi", "Protected health information: records, messages, documents about patients."),
    DataClass(3, "imaging", "Medical images and what belongs to them."),
    DataClass(4, "database", "Files of databases, whatever is in them."),
    DataClass(5, "operational", "What the business runs on and names no patient: schedules, stock, billing rules."),
    DataClass(6, "system", "Operating systems, programs and their configuration."),
    DataClass(7, "public", "What anyone may read."),
)
"""The classes, most sensitive first."""

DEFAULT_CLASS = "phi"
"""The class of what no rule names: the safe one."""

CLASS_NAMES = {row.id: row.name for row in sorted(DATA_CLASSES, key=lambda row: row.id)}

_RANKS = {row.id: rank for rank, row in enumerate(DATA_CLASSES)}


def class_rank(class_id: int) -> int:
    """Return a class's rank, 0 the most sensitive; the site's own follow by id."""
    return _RANKS.get(class_id, len(_RANKS) + class_id)
