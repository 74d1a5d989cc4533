"""What `Vault` can do about damage: a part of its surface, in a room of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.runs.governed import governed
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.results import RepairReport, RepairResult

__all__ = ["RepairSurface"]


class RepairSurface:
    """Repairs, as methods of `Vault`."""

    _vault: OpenVault

    @audited("repair")
    def repair(
        self,
        *,
        known_only: bool = False,
        show_paths: bool = False,
        clear: Sequence[str] = (),
        dry_run: bool = False,
        events: Events = ignore,
    ) -> RepairReport:
        """Make whole what can be made whole: packs from other copies and from parity, the index, parity itself, the catalog.

        Every pack and every parity object is read and hashed first; with `known_only` no more than what is missing and what
        a verification found. A pack is replaced only by bytes whose hash is its name. A pack that nothing brings back stays
        where it is, is listed for writers (their next backup stores the content again if the source has it), and what it
        costs is said. Safe at any time and after a crash anywhere; a second call goes on. Needs the root key.

        `clear` names objects under `access/`, `wrap/` and `writer/` that verify for nobody and keep root from something: they go, and
        whatever they once said with them. `UsageError` for one that can be read.
        """
        from holdfast.runs.repair import RepairRequest, run_repair

        request = RepairRequest(known_only=known_only, show_paths=show_paths, dry_run=dry_run, clear=tuple(clear))
        if dry_run:
            return run_repair(self._vault, request, events=events)
        with governed(self._vault, None, kind="repair", events=events, stop=None):
            return run_repair(self._vault, request, events=events)

    @audited("repair")
    def repair_index(self, *, everything: bool = False, dry_run: bool = False, events: Events = ignore) -> RepairResult:
        """List again the packs that no readable index run lists, by the packs' own directories.

        Safe at any time: nothing but index runs that cannot be read is deleted, after what replaces them is durable.
        `everything` reads all packs. Needs the root key. Packs that are damaged themselves are counted, not listed.
        """
        from holdfast.runs.repair import run_repair_index

        return run_repair_index(self._vault, everything=everything, dry_run=dry_run, events=events)
