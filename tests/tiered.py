"""What the tests of several stores share: a vault whose packs lie on stores by class, with stores that can be made to fail."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy, Move, PolicyBook, StoreFacts
from holdfast.errors import StoreUnreachableError
from holdfast.reliability.retry import RetryPolicy
from holdfast.repository.placed import PlacedStore
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.tiering import Tiers
from holdfast.stores.layers import CountingStore, HookedStore, RetryingStore, VerifyingStore
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Store

DAY = 86400
OTHERS = ("second", "third", "cold")
PHI_AGE, IMAGING_AGE = 90 * DAY, 30 * DAY


def book(facts: Mapping[str, StoreFacts] | None = None, **policies: ClassPolicy) -> PolicyBook:
    """Return a book: `phi` on two of home, second and third, later on cold and second; images later on cold alone."""
    defaults = {name: ClassPolicy(name, (HOME,), spool=True) for name in HEALTHCARE} | {
        "phi": ClassPolicy("phi", (HOME, "second", "third"), copies=2, moves=(Move(PHI_AGE, ("cold", "second")),)),
        "imaging": ClassPolicy("imaging", ("second",), moves=(Move(IMAGING_AGE, ("cold",)),)),
        "database": ClassPolicy("database", ("second", "third"), copies=2),
    }
    stores = {name: StoreFacts(name) for name in (HOME, *OTHERS)} | {"cold": StoreFacts("cold", tier="cold")}
    return PolicyBook(defaults | policies, stores | dict(facts or {}))


class Tiered:
    """A vault of a test: the home in memory, other stores in memory, a source with a folder per class, and a clock."""

    def __init__(self, root: Path, rules: PolicyBook | None = None, *, spool_bytes_max: int = 1 << 30) -> None:
        self.root = root
        self.clock = ManualClock()
        self.env = self.clock.environment()
        self.bare: dict[str, MemoryStore] = {name: MemoryStore(name) for name in (HOME, *OTHERS)}
        self.down: set[str] = set()
        self.rules = rules or book()
        self.tiers = Tiers(self.rules, {name: f"memory:{root}/{name}" for name in OTHERS}, None, spool_bytes_max)
        self.source = root / "source"
        for name, store in self.bare.items():
            MemoryStore.shared(f"{root}/{name}").objects = store.objects
        self.options = BackupOptions(
            class_rules=tuple(
                ClassRule(f"{self.source}/{name}/", name) for name in ("imaging", "database", "system", "public")
            ),
            pack_bytes=1 << 20,
        )

    def create(self) -> holdfast.Vault:
        """Make the vault."""
        made = holdfast.Vault.create(
            f"memory:{self.root}/home", key_file=self.root / "key", env=self.env, tiers=self.tiers
        )
        return self.hooked(made)

    def open(self, tiers: Tiers | None = None) -> holdfast.Vault:
        """Open it."""
        opened = holdfast.Vault.open(
            f"memory:{self.root}/home", key_file=self.root / "key", env=self.env, tiers=tiers or self.tiers
        )
        return self.hooked(opened)

    def hooked(self, vault: holdfast.Vault) -> holdfast.Vault:
        """Let stores named in `down` fail; retries take no time: the clock is the test's."""
        for name in OTHERS:
            self.wrap(vault, name, self._failing(name, self.bare[name]))
        return vault

    def _failing(self, name: str, store: Store) -> Store:
        def before(verb: str, _object: str) -> None:
            if name in self.down:
                raise StoreUnreachableError(f"store {name} does not answer (a test's fault: {verb})")

        return HookedStore(store, before)

    def wrap(self, vault: holdfast.Vault, name: str, bare: Store) -> None:
        """Put another bare store into its layers and under its name."""
        policy = RetryPolicy(attempts=2)
        placed(vault).stores[name] = CountingStore(RetryingStore(VerifyingStore(bare), self.env, policy))

    def write(self, folder: str, name: str, size: int = 5000, version: int = 0) -> Path:
        """Write a file of a class's folder (`phi` is what no rule names) that does not compress."""
        import random

        path = self.source / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(f"{folder}/{name}/{version}").randbytes(size))
        return path

    def fill(self, *, files: int = 3) -> None:
        """Write some files of four classes."""
        for folder in ("phi", "imaging", "database", "public"):
            for number in range(files):
                self.write(folder, f"f{number}")

    def backup(self, vault: holdfast.Vault, **more: object) -> holdfast.BackupResult:
        """Back up the source."""
        return vault.backup([self.source], label="ehr", options=self.options, **more)  # type: ignore[arg-type]

    def content(self) -> dict[str, bytes]:
        """Return what is in the source."""
        return {str(p.relative_to(self.source)): p.read_bytes() for p in self.source.rglob("*") if p.is_file()}

    def restored(self, vault: holdfast.Vault, snapshot: str = "latest") -> dict[str, bytes]:
        """Restore a snapshot and return its files."""
        import shutil
        import tempfile

        target = Path(tempfile.mkdtemp(dir=self.root))
        try:
            result = vault.snapshot(snapshot).restore(target)
            assert result.exit_code == 0, result
            inside = target / str(self.source).lstrip("/")
            return {str(p.relative_to(inside)): p.read_bytes() for p in inside.rglob("*") if p.is_file()}
        finally:
            shutil.rmtree(target)

    def packs(self, store: str) -> set[str]:
        """Return the data packs on a store, by hash."""
        return {name.rpartition("/")[2] for name in self.bare[store].objects if name.startswith("data/")}

    def by_class(self) -> dict[str, set[str]]:
        """Return, for each class, the stores that hold a pack of it. Read from the packs' own headers."""
        from holdfast.repository.placed import class_of

        found: dict[str, set[str]] = {}
        for store, bare in self.bare.items():
            for name, data in bare.objects.items():
                if name.startswith("data/"):
                    found.setdefault(class_of(data), set()).add(store)
        return found

    def nothing_misplaced(self) -> None:
        """Assert that no pack lies on a store that its class may not lie on."""
        for class_name, stores in self.by_class().items():
            assert stores <= self.rules.allowed(class_name), (class_name, stores)

    def pass_days(self, days: float) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(days=days))


def placed(vault: holdfast.Vault) -> PlacedStore:
    """Return a vault's stores as one."""
    store = vault._vault.store
    assert isinstance(store, PlacedStore)
    return store
