"""Every command dies at every operation on its stores, in five ways; nothing acknowledged is lost, nothing said is untrue.

`sweep` tries one command; :data:`COMMANDS` is the table. A new command is one line there: what is prepared, what is done, and how
to see that it was done. `python -m holdfast.testing.sweep [NAME …]` tries all, or some.
"""

from __future__ import annotations

from holdfast.testing.sweep.command import Command
from holdfast.testing.sweep.commands import COMMANDS
from holdfast.testing.sweep.run import SweepReport, sweep, ways_of
from holdfast.testing.sweep.strike import WAYS

__all__ = ["COMMANDS", "WAYS", "Command", "SweepReport", "sweep", "ways_of"]
