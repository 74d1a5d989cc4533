"""A check without any secret: what whoever holds a disk can prove about a vault on it, a copy of its home, or a courier's medium.

Everything that bytes prove by themselves: that each object is as it was written, that each pack and each row of parity is what its
name says, and, with the vault's header, that whoever signed an object was certified to. What is sealed is not compared, and the report
says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base import environment
from holdfast.base.events import Progress, ignore
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, ObjectMissingError, VaultMissingError
from holdfast.repository import names
from holdfast.repository.check import check
from holdfast.repository.home_copy import HEADER
from holdfast.repository.objects import SHA_BYTES, sha256
from holdfast.repository.opening import open_home
from holdfast.repository.repository import Repository
from holdfast.runs.assembly import open_store, set_limits
from holdfast.runs.home_copies import AsVault
from holdfast.runs.medium import COURIER, OBJECTS
from holdfast.runs.medium import HEADER as HEADER_BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.config import StoreSettings
    from holdfast.runs.options import Limits, PathLike
    from holdfast.stores.protocol import Store

__all__ = ["KeylessReport", "check_without_key"]

PACKS = ("data/", "meta/", "parity/")
UNFRAMED = ("probe/", "home/", "member/")
"""Any bytes may be there."""
SEALED = (
    "which packs there should be and how large they are (the index is sealed): a pack that is gone is not missed",
    "what snapshots rest on (reference sets, trees), and whether what is in a pack opens",
    "whether the store shows an older state of the vault",
    "what other stores of the vault hold: each is checked by its own address",
)
PARTIAL = frozenset({"lost", "superseded"})
"""Kinds of findings that mean nothing on a medium: it holds what was not carried before, as much as went on it."""
_NO_HEADER = "the header of the vault at this place is lost, and so is its twin"
UNREAD = "the bytes of packs: `holdfast verify --no-key` reads them"
UNSIGNED = "who signed what, and whether all of it is of one vault: there is no header that says whose it is"


@dataclass(frozen=True, slots=True)
class KeylessReport:
    """What a check without any secret saw of one store."""

    objects: int
    """Objects that were looked at, packs included."""
    packs: int
    """Packs and rows of parity that are there."""
    bytes: int
    """What all objects take."""
    packs_read: int
    """Packs and rows of parity of which every byte was held against the name."""
    problems: tuple[str, ...] = ()
    """Sentences that name objects, never paths. Empty: nothing is wrong as far as can be seen without a key."""
    not_compared: tuple[str, ...] = ()
    """What nobody can tell without a key, or was not looked at."""
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong as far as can be seen."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """0 sound, 4 damage."""
        return 0 if self.sound else 4


def check_without_key(
    url: PathLike,
    *,
    packs: bool = False,
    stores: Mapping[str, StoreSettings] | None = None,
    limits: Limits | None = None,
    env: Environment | None = None,
    events: Events = ignore,
) -> KeylessReport:
    """Check one store of a vault without any secret: a home, a store beside it, a copy, the `vault` folder of a medium.

    `packs`: also read every byte of every pack and row of parity and hold it against its name. `stores`: what `store:NAME` in the
    address means. `limits`: how fast may be read. Nothing is written, nothing noted.
    `VaultMissingError` if nothing of a vault is there; `StoreError`.
    """
    env = env or environment.system()
    began = env.monotonic()
    rates = engine.Limits()
    set_limits(rates, limits)
    store = open_store(os.fsdecode(url), env, rates, stores)

    def progress(done: int, total: int) -> None:
        events(Progress(phase="verify", seconds=env.monotonic() - began, files=done, files_total=total))

    try:
        if not store.exists():
            raise VaultMissingError("there is no vault at this place")
        found = _Look(store, progress, packs=packs)
        found.take(env)
    finally:
        store.close()
    return KeylessReport(
        objects=found.objects,
        packs=len(found.packs),
        bytes=found.bytes,
        packs_read=found.read,
        problems=tuple(found.problems),
        not_compared=(*(() if found.signed else (UNSIGNED,)), *SEALED, *(() if packs else (UNREAD,))),
        notes=tuple(found.notes),
        seconds=env.monotonic() - began,
    )


def _is_medium(url: str) -> bool:
    """Return whether a folder is what a courier carries: its header lies beside it."""
    folder = Path(url)
    return folder.name == OBJECTS and (folder.parent / COURIER / HEADER_BESIDE).is_file()


class _Look:
    """One check under way."""

    def __init__(self, store: Store, progress: Callable[[int, int], None], *, packs: bool) -> None:
        self.store = store
        self.reads_packs = packs
        self.progress = progress
        self.objects = self.bytes = self.read = 0
        self.signed = True
        self.is_medium = _is_medium(store.url)
        self.packs: list[str] = []
        self.problems: list[str] = []
        self.notes: list[str] = []

    def take(self, env: Environment) -> None:
        """Look at the structure, by the header if there is one, then at the packs."""
        signed = False
        for info in self.store.list(""):
            signed = signed or (names.is_known(info.name) and not info.name.startswith(PACKS))
            if info.name.startswith(PACKS) and names.is_known(info.name):
                self.packs.append(info.name)
                self.bytes += info.size
        try:
            copied = self.store.size(names.VAULT) is None and self.store.size(HEADER) is not None
            header, home = open_home(AsVault(self.store) if copied else self.store, env)
        except (VaultMissingError, DamageError) as error:
            self.signed = False
            # A store beside the home holds packs alone. Where anything is that somebody signed, there was a header.
            gone = isinstance(error, VaultMissingError)
            if not gone or (signed and not self.is_medium):
                self.problems.append(_NO_HEADER if gone else error.what)
            self.problems += self._frames()
        else:
            outcome = check(Repository.without_key(home, header))
            self.objects, self.bytes = outcome.objects, outcome.bytes
            self.problems += [f.text for f in outcome.findings if not (self.is_medium and f.kind in PARTIAL)]
            self.notes += outcome.notes
        if self.reads_packs:
            self.problems += self._hashes()

    def _frames(self) -> Iterator[str]:
        """Yield what is wrong with objects by themselves: each control and sealed object ends in its own hash."""
        known = len(self.packs)
        for info in self.store.list(""):
            if info.name.startswith(PACKS):
                continue
            if not names.is_known(info.name) and not info.name.startswith((*UNFRAMED, "copy/")):
                yield f"object {info.name} has a name that is not the format's"
                continue
            known += 1
            self.bytes += info.size
            if info.name.startswith(UNFRAMED):
                continue
            try:
                data = self.store.get(info.name)
            except ObjectMissingError:
                continue
            if sha256(data[:-SHA_BYTES]) != data[-SHA_BYTES:].hex():
                yield f"object {info.name} is damaged: its bytes are not what was written"
        self.objects = known
        if not known:
            raise VaultMissingError("there is nothing of a vault at this place")

    def _hashes(self) -> Iterator[str]:
        """Yield the packs and rows of parity whose bytes do not hash to their names."""
        for name in self.packs:
            kind, sha = "parity row" if name.startswith("parity/") else "pack", name.rpartition("/")[2]
            try:
                if sha256(self.store.get(name)) != sha:
                    yield f"{kind} {sha} is damaged"
            except ObjectMissingError:
                continue  # pruned meanwhile
            finally:
                self.read += 1
                self.progress(self.read, len(self.packs))
