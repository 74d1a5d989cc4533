"""The table of commands that a sweep kills. A command more is one line more in one of its parts."""

from __future__ import annotations

from holdfast.testing.sweep.backups import BACKUPS
from holdfast.testing.sweep.command import Command
from holdfast.testing.sweep.keys import KEYS
from holdfast.testing.sweep.people import PEOPLE
from holdfast.testing.sweep.repairs import REPAIRS
from holdfast.testing.sweep.tiers import TIERS

__all__ = ["COMMANDS"]

COMMANDS: tuple[Command, ...] = (*BACKUPS, *REPAIRS, *TIERS, *KEYS, *PEOPLE)
"""Every command that writes to a store."""
