"""The vault as callers hold it: the public API. It parses arguments, calls one run each, and returns its result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from holdfast.base.events import Events, ignore
from holdfast.errors import UsageError
from holdfast.repository import forget, writers
from holdfast.repository.credentials import Passphrase
from holdfast.repository.holds import set_hold
from holdfast.repository.snapshots import of_source, select
from holdfast.runs.assembly import create_vault, open_vault
from holdfast.runs.backup import BackupRequest, run_backup
from holdfast.runs.configured import access, backup_options, job_paths
from holdfast.runs.options import BackupOptions, raw_path
from holdfast.runs.results import ForgetDecision, ForgetPlan, ForgetResult
from holdfast.runs.snapshot import Snapshot, SnapshotList, refuse_to_guess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from holdfast.base.environment import Environment
    from holdfast.classes.routing import MovePlan
    from holdfast.config import Config, StoreSettings
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.courier import Courier
    from holdfast.runs.options import Cancel, Limits, PathLike
    from holdfast.runs.results import (
        BackupResult,
        CheckReport,
        FoundEntry,
        PruneResult,
        RepairResult,
        RetentionPolicy,
        VaultStats,
        VerifyReport,
    )
    from holdfast.runs.tier_results import CopyRepair, Exposure, MigrateResult, Pending
    from holdfast.runs.tiering import Tiers


class Vault:
    """An open vault: its store, the keys it was opened with, and this host's local state. Use as a context manager.

    Every method may raise `StoreUnreachableError`, `StoreRefusedError`, `StoreFullError`, `DamageError` (an object the
    call cannot do without is damaged) and `VersionError` (a vault of a newer Holdfast).
    """

    def __init__(self, vault: OpenVault, config: Config | None = None) -> None:
        """Use :meth:`open` or :meth:`create`."""
        self._vault = vault
        self._config = config

    @classmethod
    def create(
        cls,
        url: PathLike,
        *,
        key_file: PathLike | None = None,
        passphrase: str | None = None,
        label: str = "",
        stores: Mapping[str, StoreSettings] | None = None,
        tiers: Tiers | None = None,
        env: Environment | None = None,
    ) -> Vault:
        """Make a vault and open it. A key file that does not exist is made (mode 0600); one that exists is used.

        Either or both secrets may be given: each becomes a key slot. The keyring is durable before the vault header
        is: a crash leaves no vault or a whole one. `stores`: the tables that a URL `store:NAME` refers to; `tiers`: the
        stores of packs beside the home, and which go where. `VaultExistsError`; `UsageError` if no secret is given.
        """
        made = create_vault(
            url, key_file=key_file, passphrase=passphrase, label=label, env=env, stores=stores, tiers=tiers
        )
        return cls(made)

    @classmethod
    def open(
        cls,
        url: PathLike,
        *,
        key_file: PathLike | None = None,
        passphrase: str | None = None,
        credential: PathLike | None = None,
        stores: Mapping[str, StoreSettings] | None = None,
        tiers: Tiers | None = None,
        env: Environment | None = None,
    ) -> Vault:
        """Open a vault by its store, or by a configuration file (`*.toml`).

        `credential` is a writer's: it can back up and nothing else. `VaultMissingError`, `WrongKeyError`.

        A secret given here goes before the configured one.
        """
        config = _configuration(url)
        if config is not None:
            known = access(config, os.environ)
            url, stores, tiers = known.url, known.stores, known.tiers
            if key_file is None and passphrase is None and credential is None:
                key_file, passphrase, credential = known.key_file, known.passphrase, known.credential
        opened = open_vault(
            url, key_file=key_file, passphrase=passphrase, credential=credential, env=env, stores=stores, tiers=tiers
        )
        return cls(opened, config)

    def close(self) -> None:
        """Release files and connections. Runs must be over."""
        self._vault.close()

    def __enter__(self) -> Self:
        """Return the vault."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the vault."""
        self.close()

    @property
    def id(self) -> str:
        """The vault's id, 32 hex digits."""
        return self._vault.vault_id

    @property
    def url(self) -> str:
        """Where its store is."""
        return self._vault.store.url

    @property
    def label(self) -> str:
        """The operator's name for it."""
        return self._vault.repository.label

    @property
    def state_dir(self) -> str:
        """This host's folder for the vault: caches, index copies, catalog, ledger. Can be lost at the cost of time."""
        return str(self._vault.state_dir)

    def backup(
        self,
        paths: str | PathLike | Sequence[PathLike],
        *,
        label: str = "",
        options: BackupOptions | None = None,
        dry_run: bool = False,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> BackupResult:
        """Back up paths, or the configured job of that name, and commit a snapshot.

        When it returns, the snapshot is committed, durable and readable; `partial` if some file could not be read
        whole, each of which is a finding. `label` names the source: the same host, label and paths continue the same
        history. A dry run scans, counts by class, and writes nothing.

        Errors: `SourceMissingError` (a path that does not exist), `RevokedError`, `Interrupted` (`stop` was set: a
        checkpoint is kept and the next run uploads nothing twice). After any error no earlier snapshot is touched.
        """
        if isinstance(paths, str) and self._config is not None and paths in self._config.settings.jobs:
            label = label or paths
            options = options or backup_options(self._config.settings, paths)
            paths = job_paths(self._config.settings, paths)
        given: list[PathLike] = [paths] if isinstance(paths, str | bytes | os.PathLike) else [*paths]
        request = BackupRequest(tuple(map(raw_path, given)), label, options or BackupOptions(), dry_run=dry_run)
        return run_backup(self._vault, request, events=events, stop=stop)

    def snapshots(self, source: str = "") -> SnapshotList:
        """Return the committed snapshots, oldest first; only those of a source (label, or id prefix) if given."""
        found, damaged = self._vault.listing()
        if source:
            found = of_source(found, source)
        return SnapshotList([Snapshot(self._vault, info) for info in found], damaged)

    def snapshot(self, selector: str = "latest") -> Snapshot:
        """Return one snapshot by id, unique prefix, `latest`, `latest:SOURCE` or `SOURCE@TIME`.

        `SnapshotMissingError`, `AmbiguousSnapshotError`; `DamageError` if a snapshot that cannot be read may be the one.
        """
        found, damaged = self._vault.listing()
        if _is_id(selector):
            refuse_to_guess([lost for lost in damaged if lost.startswith(selector)])
        else:
            refuse_to_guess(damaged)
        return Snapshot(self._vault, select(found, selector))

    def find(self, pattern: str, *, source: str = "", limit: int = 10_000) -> Iterator[FoundEntry]:
        """Yield entries of all snapshots whose name or path matches a glob, from the updated catalog."""
        from holdfast.runs import catalog

        return catalog.find(self._vault, pattern, source=source, limit=limit)

    def versions(self, path: PathLike, *, source: str = "", before: datetime | None = None) -> Iterator[FoundEntry]:
        """Yield the distinct versions of one path, newest first."""
        from holdfast.runs import catalog

        return catalog.versions(self._vault, raw_path(path), source=source, before=before)

    def catalog_update(self, *, events: Events = ignore) -> int:
        """Bring the catalog up to date; return how many snapshots were added."""
        from holdfast.runs import catalog

        return catalog.run_update(self._vault, events=events)

    def catalog_rebuild(self, *, events: Events = ignore) -> int:
        """Make the catalog anew from the vault; return how many snapshots it holds."""
        from holdfast.runs import catalog

        return catalog.run_update(self._vault, rebuild=True, events=events)

    def plan_forget(self, policy: RetentionPolicy, *, source: str = "") -> ForgetPlan:
        """Return what retention would forget. Nothing changes."""
        chosen = [snapshot.info for snapshot in self.snapshots(source)]
        return forget.plan(self._vault.repository, policy, chosen)

    def forget(
        self,
        policy: RetentionPolicy | None = None,
        *,
        snapshots: Sequence[str] = (),
        source: str = "",
        reason: str = "",
        dry_run: bool = False,
    ) -> ForgetResult:
        """Forget by policy, or the given snapshots. Space comes back by :meth:`prune`.

        `HeldError` if one of `snapshots` is under a legal hold, `RetentionError` if its minimum retention has not
        passed; a policy skips both. A snapshot that cannot be read is forgotten by its whole id, and by no policy.
        """
        if (policy is None) == (not snapshots):
            raise UsageError("a forget takes a policy or snapshots, one of the two")
        repository = self._vault.repository
        if policy is not None:
            plan = self.plan_forget(policy, source=source)
        else:
            lost = self._vault.listing()[1]
            ids = [selector if selector in lost else self.snapshot(selector).id for selector in snapshots]
            plan = ForgetPlan(tuple(ForgetDecision(snapshot, keep=False, reasons=()) for snapshot in ids))
        if dry_run:
            return ForgetResult(plan, (), dry_run=True)
        return ForgetResult(plan, forget.apply(repository, plan, reason=reason or "retention"))

    def hold(self, selector: str, *, reason: str) -> str:
        """Put a snapshot under legal hold; return its id."""
        return self._set_hold(selector, held=True, reason=reason)

    def release(self, selector: str, *, reason: str) -> str:
        """End a legal hold; return the snapshot's id."""
        return self._set_hold(selector, held=False, reason=reason)

    def _set_hold(self, selector: str, *, held: bool, reason: str) -> str:
        repository = self._vault.repository
        snapshot = self.snapshot(selector).id
        set_hold(repository.home, snapshot, repository.root, held=held, reason=reason)
        return snapshot

    def prune(
        self,
        *,
        undo_days: float = 7.0,
        repack_below: float = 0.5,
        revoke_silent: bool = False,
        dry_run: bool = False,
        events: Events = ignore,
    ) -> PruneResult:
        """Do the next safe step towards giving back space, as many as can be done now.

        Safe beside running backups and other prunes. The first call condemns, a later one, after the undo delay,
        deletes. `revoke_silent`: sessions that never acknowledged are revoked (their runs start again).
        """
        from holdfast.runs.prune import PruneRequest, run_prune

        request = PruneRequest(
            undo_days=undo_days, repack_below=repack_below, revoke_silent=revoke_silent, dry_run=dry_run
        )
        return run_prune(self._vault, request, events=events)

    def repair_index(self, *, everything: bool = False, dry_run: bool = False, events: Events = ignore) -> RepairResult:
        """List again the packs that no readable index run lists, by the packs' own directories.

        Safe at any time: nothing but index runs that cannot be read is deleted, after what replaces them is durable.
        `everything` reads all packs. Needs the root key. Packs that are damaged themselves are counted, not listed.
        """
        from holdfast.runs.repair import run_repair_index

        return run_repair_index(self._vault, everything=everything, dry_run=dry_run, events=events)

    def check(self, *, events: Events = ignore) -> CheckReport:
        """Check the structure: every object's frame and signature, every reference, presence and size of each pack."""
        from holdfast.runs.check import run_check

        return run_check(self._vault, events=events)

    def verify(
        self,
        *,
        sample: float = 1.0,
        older_than_days: float | None = None,
        snapshots: Sequence[str] = (),
        show_paths: bool = False,
        mark_damaged: bool = True,
        due: bool = False,
        limits: Limits | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> VerifyReport:
        """Read packs back and prove them: name against hash, and with the class's key every segment and chunk id.

        `sample` is the part of all packs to read, those that waited longest first; `older_than_days` only packs not
        verified for so long, `due` only packs of which a copy was not read within its class's interval. Every further copy
        of a pack, on other stores, is read and hashed too. Damage is listed in a signed `damaged/N`, so that the next
        backup of each source stores the affected content again (unless `mark_damaged` is False).
        """
        from holdfast.runs.verify import VerifyRequest, run_verify

        request = VerifyRequest(sample, older_than_days, tuple(snapshots), show_paths, mark_damaged, due)
        return run_verify(self._vault, request, events=events, limits=limits, stop=stop)

    def migrate_plan(self, *, budget_bytes: int | None = None) -> MovePlan:
        """Return what a migration would do: what may not lie where it lies first, then missing copies, then ages.

        Asks every store. `UsageError` for a vault without policies, `StoreUnreachableError` if a store does not answer.
        """
        from holdfast.runs import migrate

        return migrate.migrate_plan(self._vault, budget_bytes=budget_bytes)

    def migrate(
        self,
        plan: MovePlan | None = None,
        *,
        budget_bytes: int | None = None,
        dry_run: bool = False,
        limits: Limits | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> MigrateResult:
        """Bring what waits, and every pack that has reached an age, to the stores that its class's policy names.

        Each pack is copied, read back and hashed before an old copy is deleted: every snapshot is restorable at each
        moment, and after a crash at any of them. `budget_bytes` bounds what is copied; the rest is for the next call.
        """
        from holdfast.runs import migrate

        return migrate.run_migrate(
            self._vault, plan, budget_bytes=budget_bytes, dry_run=dry_run, limits=limits, events=events, stop=stop
        )

    def repair_copies(self, *, dry_run: bool = False, events: Events = ignore) -> CopyRepair:
        """Make missing and damaged copies anew from sound ones, and move what lies where its class may not lie.

        What `verify` found damaged is known; what is missing is seen here, by asking every store. A pack without any
        sound copy is counted and left alone.
        """
        from holdfast.runs import migrate

        return migrate.run_repair_copies(self._vault, dry_run=dry_run, events=events)

    def pending(self) -> Pending | None:
        """Return what waits because a store was down, by this host's ledger; None for a vault with one store."""
        from holdfast.runs.pending import pending

        return pending(self._vault)

    def exposed(self) -> tuple[Exposure, ...]:
        """Return where older copies lie that may not lie there any more, because their files' class rose since.

        In counts, by source and change of class, with the snapshots to forget if they are to go early. Reads trees: it
        takes about as long as listing every snapshot.
        """
        from holdfast.runs.exposure import exposed

        return exposed(self._vault)

    def courier(self, name: str = "default") -> Courier:
        """Return the courier to a far side behind an air gap: export onto media, take receipts, see what is open.

        The far side takes media by `holdfast.courier_import`, which needs no key.
        """
        from holdfast.runs.courier import Courier

        return Courier(self._vault, name)

    def stats(self, *, by_snapshot: bool = True) -> VaultStats:
        """Return where the space goes: by class, source and snapshot."""
        from holdfast.runs.stats import run_stats

        return run_stats(self._vault, by_snapshot=by_snapshot)

    def enroll_writer(self, label: str, classes: Sequence[str] = ()) -> bytes:
        """Make a writer that can add to the classes (none: all) and read nothing; return its credential's bytes."""
        repository = self._vault.repository
        return writers.enrol(repository, label, [repository.class_id(name) for name in classes]).encode()

    def revoke_writer(self, writer: str) -> None:
        """Revoke a writer by id or label: its index runs are no longer trusted, its open sessions end."""
        repository = self._vault.repository
        writers.revoke(repository, writers.find_writer(repository, writer).id)

    def recovery_kit(self) -> bytes:
        """Make a new key slot and return it as a recovery kit: a key file with instructions for people."""
        return writers.make_recovery_kit(self._vault.repository)

    def add_passphrase(self, passphrase: str) -> str:
        """Add a key slot; return its id."""
        return self._vault.repository.add_slot(Passphrase(passphrase))


def _is_id(selector: str) -> bool:
    """Return whether a selector is (the beginning of) an id, which means one snapshot whatever else there is."""
    return bool(selector) and set(selector) <= set("0123456789abcdef")


def _configuration(url: PathLike) -> Config | None:
    """Return the configuration, if what is to be opened is one."""
    path = os.fsdecode(url)
    if not path.endswith(".toml"):
        return None
    from holdfast.config import load

    return load(path)
