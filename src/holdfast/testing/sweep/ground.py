"""Where a sweep happens: a vault on stores in memory, a small source, this host's local state; put back as it was for each try."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy, Move, PolicyBook, StoreFacts
from holdfast.errors import HoldfastError
from holdfast.repository.repository import Repository
from holdfast.runs.assembly import STATE_VARIABLE, OpenVault
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.tiering import Tiers
from holdfast.testing.sweep.strike import Strike, SweptStore

__all__ = ["Ground", "Kept", "Layout", "files_in", "ground", "opened", "repository_of"]

OTHERS = ("second", "cold")
MEMORY = "/dev/shm"  # noqa: S108 - folders of a random name are made in it
"""Where a ground's files lie if there is such a place: a sweep writes and removes many thousands of them."""
Layout = Literal["one", "tiered", "copied", "cold"]
"""`one`: everything on one store. `tiered`: packs on three stores by class and age. `copied`: everything on two stores, the home's
objects too. `cold`: as `tiered`, and what has reached the third store must be thawed before it is read."""
FILE_BYTES = 6_000
LABEL = "ehr"
_DAY = 86400


@dataclass(frozen=True, slots=True)
class Kept:
    """A ground as it was at one moment."""

    objects: Mapping[str, Mapping[str, bytes]]
    folder: Path
    acknowledged: Mapping[str, Mapping[str, bytes]]
    days: float


def _book(*, cold: bool) -> PolicyBook:
    policies = {name: ClassPolicy(name, (HOME,), spool=True) for name in HEALTHCARE}
    policies["phi"] = ClassPolicy("phi", (HOME, "second"), copies=2, moves=(Move(90 * _DAY, ("second", "cold")),))
    policies["imaging"] = ClassPolicy("imaging", ("second",), moves=(Move(30 * _DAY, ("cold",)),))
    facts = {name: StoreFacts(name) for name in (HOME, *OTHERS)}
    return PolicyBook(policies, facts | ({"cold": StoreFacts("cold", tier="cold")} if cold else {}))


def _twice() -> PolicyBook:
    policies = {name: ClassPolicy(name, (HOME, "second"), copies=2) for name in HEALTHCARE}
    return PolicyBook(policies, {name: StoreFacts(name) for name in (HOME, "second")})


class Ground:
    """One vault and one host."""

    def __init__(self, root: Path, layout: Layout) -> None:
        """Use an empty folder; make the stores."""
        self.root = root
        self.live = root / "live"
        self.source = self.live / "source"
        self.key = self.live / "vault.key"
        self.clock = ManualClock()
        self.env = self.clock.environment()
        others = {"one": (), "copied": ("second",)}.get(layout, OTHERS)
        self.stores = {name: SweptStore(f"{root}/{name}") for name in (HOME, *others)}
        if layout == "cold":
            self.stores["cold"] = SweptStore(f"{root}/cold", self.env, "cold")
        for name, store in self.stores.items():
            store.share(f"{root}/{name}")
        urls = {name: self.url_of(name) for name in others}
        book = _twice() if layout == "copied" else _book(cold=layout == "cold")
        self._tiers = Tiers(book, urls, None, 1 << 24) if others else None
        self.acknowledged: dict[str, dict[str, bytes]] = {}
        self.left_whole: bool | None = None
        """Whether what the last restore left when it failed was whole, all of it that had its name."""
        self.days = 0.0
        self.options = BackupOptions(
            class_rules=(ClassRule(f"{self.source}/imaging/", "imaging"),),
            pack_bytes=1 << 20,
            workers=1,
            upload_threads=1,
        )
        self.source.mkdir(parents=True)

    def url_of(self, store: str) -> str:
        """Return a store's URL."""
        return f"memory:{self.root}/{store}"

    @property
    def promoted(self) -> bool:
        """Whether the copy of the home is the home now, and whole."""
        second = self.stores.get("second")
        return second is not None and "vault" in second.objects

    @property
    def url(self) -> str:
        """The home's."""
        return self.url_of("second" if self.promoted else HOME)

    @property
    def tiers(self) -> Tiers | None:
        """Which packs go where; on a promoted copy everything lies that there is."""
        return None if self.promoted else self._tiers

    def create(self) -> None:
        """Make the vault."""
        holdfast.Vault.create(self.url, key_file=self.key, env=self.env, tiers=self.tiers).close()

    @contextmanager
    def open(self, **secret: Any) -> Iterator[holdfast.Vault]:  # noqa: ANN401 - secrets as `Vault.open` takes them
        """Open the vault, by its key file unless another secret is given, and close it whatever happens."""
        self.pass_days(1 / _DAY)  # two snapshots of one moment would have no order
        secret = secret or {"key_file": self.key}
        vault = holdfast.Vault.open(self.url, env=self.env, tiers=self.tiers, **secret)
        try:
            yield vault
        finally:
            with suppress(BaseException):
                vault.close()

    def strike(self, strike: Strike | None) -> None:
        """Let a strike count and hit the operations of all stores, or none."""
        for store in self.stores.values():
            store.strike = strike

    def write(self, name: str, version: int = 0, size: int = FILE_BYTES) -> Path:
        """Write a file of the source that does not compress."""
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{name}/{version}").randbytes(size))
        return path

    def content(self) -> dict[str, bytes]:
        """Return what is in the source."""
        return files_in(self.source)

    def backup(self, vault: holdfast.Vault) -> holdfast.BackupResult:
        """Back the source up; what is acknowledged is remembered."""
        content = self.content()
        result = vault.backup([self.source], label=LABEL, options=self.options)
        if result.snapshot is not None:
            self.acknowledged[result.snapshot.id] = content
        return result

    def restored(self, vault: holdfast.Vault, snapshot: str = "latest") -> dict[str, bytes]:
        """Restore a snapshot and return its files."""
        target = Path(tempfile.mkdtemp(dir=self.root))
        try:
            chosen = vault.snapshot(snapshot)
            if any(store.is_cold for store in self.stores.values()):
                chosen.thaw()
            chosen.restore(target)
            inside = target / str(self.source).lstrip("/")
            return files_in(inside)
        except HoldfastError:
            left = files_in(target / str(self.source).lstrip("/"))
            named = {name: data for name, data in left.items() if not name.endswith((".damaged", ".damaged.map"))}
            self.left_whole = any(named.items() <= content.items() for content in self.acknowledged.values())
            raise
        finally:
            shutil.rmtree(target)

    def objects(self) -> dict[str, bytes]:
        """Return what is on the stores, as `STORE/NAME`."""
        return {f"{store}/{name}": data for store, held in self.stores.items() for name, data in held.objects.items()}

    def pass_days(self, days: float) -> None:
        """Let time pass."""
        self.days += days
        self.clock.advance(timedelta(days=days))

    def keep(self) -> Kept:
        """Remember everything as it is."""
        folder = Path(tempfile.mkdtemp(dir=self.root, prefix="kept-"))
        shutil.copytree(self.live, folder / "live", symlinks=True)
        objects = {name: dict(store.objects) for name, store in self.stores.items()}
        return Kept(objects, folder / "live", {s: dict(c) for s, c in self.acknowledged.items()}, self.days)

    def put_back(self, kept: Kept) -> None:
        """Make everything as it was."""
        self.strike(None)
        self.left_whole = None
        for name, objects in kept.objects.items():
            self.stores[name].objects.clear()
            self.stores[name].objects.update(objects)
            self.stores[name].freeze()
        shutil.rmtree(self.live)
        shutil.copytree(kept.folder, self.live, symlinks=True)
        self.acknowledged = {s: dict(c) for s, c in kept.acknowledged.items()}


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files in a folder and below, with what is in them."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def opened(vault: holdfast.Vault) -> OpenVault:
    """Return what runs work with: a sweep looks behind the door, as the product's own runs do."""
    return vault._vault  # noqa: SLF001 - as said


def repository_of(vault: holdfast.Vault) -> Repository:
    """Return a vault's repository."""
    return opened(vault).repository


@contextmanager
def ground(layout: Layout = "one") -> Iterator[Ground]:
    """Give a ground in a temporary folder, with local state of its own."""
    root = Path(tempfile.mkdtemp(prefix="holdfast-sweep-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        with patch.dict(os.environ, {STATE_VARIABLE: str(root / "live" / "state")}):
            yield Ground(root, layout)
    finally:
        shutil.rmtree(root, ignore_errors=True)
