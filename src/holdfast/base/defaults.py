"""Defaults that the library and the configuration share; each stands here alone."""

from __future__ import annotations

__all__ = ["LOCK_VARIABLE", "LOOPBACK", "PACK_BYTES", "PACK_BYTES_MAX", "PARITY_ROWS", "UNDO_DAYS"]

LOCK_VARIABLE = "HOLDFAST_SCHEDULE_LOCK"
"""In the environment of a scheduled run: the descriptor of the lock that says it lives."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Names of this host: what is said to them in the clear never leaves it."""

PACK_BYTES = 32 << 20
"""Where a pack is closed. Several are held in memory at once: larger ones would not fit the 256 MiB a run may take."""

PACK_BYTES_MAX = 48 << 20
"""The largest that may be asked for; the engine keeps to it too."""

PARITY_ROWS = 2
"""Parity objects of a group of up to sixteen packs that exist once; docs/adr/0022 has the figures."""

UNDO_DAYS = 7.0
"""How long a planned deletion can be undone. Less shortens retention: an access policy may ask for approvals of that."""
