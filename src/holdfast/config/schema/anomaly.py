"""Settings of the signs of ransomware."""

from __future__ import annotations

from pydantic.types import StrictInt

from holdfast.config.schema.fields import Section, Text, option

__all__ = ["AnomalySettings"]


class AnomalySettings(Section):
    """Signs of ransomware: names to look for beside the known ones, and how long what is pinned is locked."""

    extensions: tuple[Text, ...] = option(
        (), "Extensions of encrypted files to count beside the known ones; case and a leading dot mean nothing."
    )
    notes: tuple[Text, ...] = option((), "Beginnings of names of ransom notes to count beside the known ones.")
    ignored: tuple[Text, ...] = option(
        (), "Known extensions and beginnings of notes that this site uses itself: they are not counted."
    )
    lock_days: StrictInt = option(
        30,
        "From each run on, how long the last good snapshot before a suspicious one is locked, on stores that can; 0: never.",
        ge=0,
        le=3650,
    )
    lock_objects_max: StrictInt = option(
        20_000, "Objects whose lock one run extends at the most; the next one goes on.", ge=1, le=10_000_000
    )
