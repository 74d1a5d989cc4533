"""The vault as callers hold it: the public API. It parses arguments, calls one run each, and returns its result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from holdfast.base.defaults import UNDO_DAYS
from holdfast.base.events import Alert, Events, ignore
from holdfast.errors import UsageError
from holdfast.repository import forget
from holdfast.repository.holds import set_hold
from holdfast.repository.snapshots import of_source
from holdfast.runs import configured
from holdfast.runs.approvals import authorise
from holdfast.runs.assembly import create_vault, open_vault
from holdfast.runs.backup import BackupRequest, run_backup
from holdfast.runs.drill.surface import DrillSurface
from holdfast.runs.governed import governed
from holdfast.runs.host_surface import HostSurface
from holdfast.runs.key_surface import KeySurface
from holdfast.runs.mount_surface import MountSurface
from holdfast.runs.operations import audited, browsed, denials_noted, operation
from holdfast.runs.options import BackupOptions, raw_path
from holdfast.runs.repair_surface import RepairSurface
from holdfast.runs.results import ForgetResult
from holdfast.runs.snapshot import Snapshot, SnapshotList, selected
from holdfast.runs.suspicion_surface import SuspicionSurface
from holdfast.runs.tier_surface import TierSurface
from holdfast.runs.witness import refuse_older

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from holdfast.base.environment import Environment
    from holdfast.config import Config, StoreSettings
    from holdfast.runs.access import Approvals
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.audit import AuditTrail
    from holdfast.runs.options import Cancel, Limits, PathLike
    from holdfast.runs.recovery import Prepared, RecoveryTarget
    from holdfast.runs.results import (
        BackupResult,
        CheckReport,
        ForgetPlan,
        FoundEntry,
        PruneResult,
        RetentionPolicy,
        VaultStats,
        VerifyReport,
    )
    from holdfast.runs.tiering import Tiers


class Vault(DrillSurface, HostSurface, KeySurface, MountSurface, RepairSurface, SuspicionSurface, TierSurface):
    """An open vault: its store, the keys it was opened with, and this host's local state. Use as a context manager.

    Every method may raise `StoreUnreachableError`, `StoreRefusedError`, `StoreFullError`, `DamageError` (an object the
    call cannot do without is damaged) and `VersionError` (a vault of a newer Holdfast).
    """

    def __init__(self, vault: OpenVault, config: Config | None = None) -> None:
        """Use :meth:`open` or :meth:`create`."""
        self._vault = vault
        self._config = config
        if config is not None:
            vault.governor = lambda: configured.governor_plan(config.settings, os.environ)
            vault.parity_rows = config.settings.vault.parity
            vault.watch = configured.watch(config.settings)

    @classmethod
    def create(
        cls,
        url: PathLike,
        *,
        key_file: PathLike | None = None,
        passphrase: str | None = None,
        key_service: str | None = None,
        label: str = "",
        stores: Mapping[str, StoreSettings] | None = None,
        tiers: Tiers | None = None,
        env: Environment | None = None,
    ) -> Vault:
        """Make a vault and open it. A key file that does not exist is made (mode 0600); one that exists is used.

        Each secret given becomes a key slot; `key_service` is the URI of one. The keyring is durable before the vault header
        is: a crash leaves no vault or a whole one. `stores`: the tables that a URL `store:NAME` refers to; `tiers`: the
        stores of packs beside the home, and which go where. `VaultExistsError`; `UsageError` if no secret is given.
        """
        made = create_vault(
            url,
            key_file=key_file,
            passphrase=passphrase,
            key_service=key_service,
            label=label,
            env=env,
            stores=stores,
            tiers=tiers,
        )
        vault = cls(made)
        with operation(vault._vault, "init"):
            return vault

    @classmethod
    def open(
        cls,
        url: PathLike,
        *,
        key_file: PathLike | None = None,
        passphrase: str | None = None,
        credential: PathLike | None = None,
        shares: Sequence[PathLike] = (),
        key_service: str | None = None,
        stores: Mapping[str, StoreSettings] | None = None,
        tiers: Tiers | None = None,
        config: Config | None = None,
        env: Environment | None = None,
    ) -> Vault:
        """Open a vault by its store, or by a configuration file (`*.toml`); `config` is one that was loaded already.

        `credential` is a role's: a writer's can back up and nothing else. `shares` are files of sheets that make a key,
        `key_service` is the URI of one. A secret given here goes before the configured one.
        `VaultMissingError`, `WrongKeyError`, `KeyServiceError`.
        """
        named = configured.configuration(url)
        config = config or named
        if named is not None:
            known = configured.access(named, os.environ)
            url, stores, tiers = known.url, known.stores, known.tiers
            if not any((key_file, passphrase, credential, shares, key_service)):
                key_file, passphrase, credential = known.key_file, known.passphrase, known.credential
                key_service = known.key_service
        resilience = None if config is None else configured.configured_resilience(config.settings)
        with denials_noted(url, env):
            opened = open_vault(
                url,
                key_file=key_file,
                passphrase=passphrase,
                credential=credential,
                shares=shares,
                key_service=key_service,
                env=env,
                stores=stores,
                resilience=resilience,
                tiers=tiers,
            )
        if config is not None:
            opened.trail.options = configured.trail_options(config.settings)
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

    @property
    def audit(self) -> AuditTrail:
        """The audit log of this vault on this host."""
        from holdfast.runs.audit import AuditTrail

        return AuditTrail(self._vault, site=self._vault.trail.options.site)

    @property
    def approvals(self) -> Approvals:
        """Who must agree to what, and the folder where requests and statements are."""
        from holdfast.runs.access import Approvals

        return Approvals(self._vault)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What a person must know of and no `events` callback was there to hear."""
        return tuple(self._vault.trail.unheard)

    def listen(self, events: Events) -> None:
        """Give `events` every alert that no callback of a call is there to hear, and first those of :attr:`alerts`."""
        self._vault.trail.listen(events)

    @audited("backup")
    def backup(
        self,
        paths: str | PathLike | Sequence[PathLike],
        *,
        label: str = "",
        options: BackupOptions | None = None,
        applications: Sequence[str] = (),
        dry_run: bool = False,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> BackupResult:
        """Back up paths, or the configured job of that name, and commit a snapshot.

        When it returns, the snapshot is committed, durable and readable; `partial` if some file could not be read
        whole, each of which is a finding. `label` names the source: the same host, label and paths continue the same
        history. A dry run scans, counts by class, and writes nothing. `applications` are names of the configuration: they
        are captured together, as one consistency group with the paths, and how is the result's `evidence`.

        Errors: `SourceMissingError` (a path is missing), `RevokedError`, `Interrupted` (`stop` was set: a checkpoint is kept, nothing
        is uploaded twice), `ApplicationError` (the application runs on). After any error no earlier snapshot is touched.
        """
        if isinstance(paths, str) and self._config is not None and paths in self._config.settings.jobs:
            label = label or paths
            options = options or configured.backup_options(self._config.settings, paths)
            applications = applications or self._config.settings.jobs[paths].applications
            paths = configured.job_paths(self._config.settings, paths)
        given: list[PathLike] = [paths] if isinstance(paths, str | bytes | os.PathLike) else [*paths]
        request = BackupRequest(tuple(map(raw_path, given)), label, options or BackupOptions(), dry_run=dry_run)
        if not applications:
            return run_backup(self._vault, request, events=events, stop=stop)
        from holdfast.runs.applications import members_of, run_application_backup

        if self._config is None:
            raise UsageError(
                "applications are named in a configuration", next="open the vault by its configuration file."
            )
        settings, vault = self._config.settings, self._vault
        return run_application_backup(
            vault, request, lambda: members_of(vault, settings, applications), events=events, stop=stop
        )

    def snapshots(self, source: str = "") -> SnapshotList:
        """Return the committed snapshots, oldest first; only those of a source (label, or id prefix) if given."""
        found, damaged = self._vault.listing()
        if source:
            found = of_source(found, source)
        return SnapshotList([Snapshot(self._vault, info) for info in found], damaged)

    def snapshot(self, selector: str = "latest") -> Snapshot:
        """Return one snapshot by id, unique prefix, `latest`, `latest:SOURCE` or `SOURCE@TIME`.

        One whose envelope is lost is had by its id, as far as its parts are there (`info.salvaged`).
        `SnapshotMissingError`, `AmbiguousSnapshotError`; `DamageError` if a snapshot that cannot be read may be the one.
        """
        return Snapshot(self._vault, selected(self._vault, selector))

    @browsed
    def find(self, pattern: str, *, source: str = "", limit: int = 10_000) -> Iterator[FoundEntry]:
        """Yield entries of all snapshots whose name or path matches a glob, from the updated catalog."""
        from holdfast.runs import catalog

        return catalog.find(self._vault, pattern, source=source, limit=limit)

    @browsed
    def versions(self, path: PathLike, *, source: str = "", before: datetime | None = None) -> Iterator[FoundEntry]:
        """Yield the distinct versions of one path, newest first."""
        from holdfast.runs import catalog

        return catalog.versions(self._vault, raw_path(path), source=source, before=before)

    def catalog_update(self, *, events: Events = ignore) -> int:
        """Bring the catalog up to date; return how many snapshots were added."""
        from holdfast.runs import catalog

        return catalog.run_update(self._vault, events=events)

    @audited("catalog")
    def catalog_rebuild(self, *, events: Events = ignore) -> int:
        """Make the catalog anew from the vault; return how many snapshots it holds."""
        from holdfast.runs import catalog

        return catalog.run_update(self._vault, rebuild=True, events=events)

    def plan_forget(self, policy: RetentionPolicy, *, source: str = "") -> ForgetPlan:
        """Return what retention would forget. Nothing changes."""
        from holdfast.runs.wal import keep_logs

        chosen = [snapshot.info for snapshot in self.snapshots(source)]
        plan = forget.plan(self._vault.repository, policy, chosen)
        return keep_logs(plan, self._vault.snapshots(), policy.pitr_days, self._vault.env.now())

    @audited("forget")
    def forget(
        self,
        policy: RetentionPolicy | None = None,
        *,
        snapshots: Sequence[str] = (),
        classes: Sequence[str] = (),
        source: str = "",
        reason: str = "",
        dry_run: bool = False,
    ) -> ForgetResult:
        """Forget by policy, or the given snapshots, or some data classes of these. Space comes back by :meth:`prune`.

        A class that is forgotten goes from its snapshot, whose other classes stay whole; a snapshot whose classes all go is
        forgotten itself.

        `HeldError` if one of `snapshots` is under a legal hold, `RetentionError` if its minimum retention has not
        passed, `PinnedError` if it is the last good one before a suspicious one; a policy skips all three. A snapshot
        that cannot be read is forgotten by its whole id, and by no policy.
        """
        if (policy is None) == (not snapshots) or (classes and policy is not None):
            raise UsageError("a forget takes a policy or snapshots, one of the two; classes only with snapshots")
        repository = self._vault.repository
        if policy is not None:
            plan = self.plan_forget(policy, source=source)
        else:
            lost = self._vault.listing()[1]
            ids = [selector if selector in lost else self._sound_id(selector) for selector in snapshots]
            plan = forget.plan_ids(repository, ids, frozenset(classes))
        if dry_run:
            return ForgetResult(plan, (), dry_run=True)
        chosen = sorted({d.snapshot for d in plan.decisions if not d.keep or d.dropped})
        refuse_older(self._vault)
        authorise(self._vault, "forget", {"snapshots": chosen})
        return ForgetResult(plan, forget.apply(repository, plan, reason=reason or "retention"))

    @audited("hold")
    def hold(self, selector: str, *, reason: str) -> str:
        """Put a snapshot under legal hold; return its id."""
        return self._set_hold(selector, held=True, reason=reason)

    @audited("release")
    def release(self, selector: str, *, reason: str) -> str:
        """End a legal hold, or the pin of a suspicious snapshot; return the snapshot's id."""
        return self._set_hold(selector, held=False, reason=reason)

    def _sound_id(self, selector: str) -> str:
        """Return the id of a snapshot that can be read. `UsageError` for another: only its whole id means that one."""
        found = self.snapshot(selector).info
        if found.salvaged:
            raise UsageError(
                "a snapshot that cannot be read is forgotten by its whole id", next="`holdfast check` names it."
            )
        return found.id

    def _set_hold(self, selector: str, *, held: bool, reason: str) -> str:
        repository = self._vault.repository
        snapshot = self.snapshot(selector).id
        if not held:
            authorise(self._vault, "release", {"snapshot": snapshot})
        set_hold(repository.home, snapshot, repository.root, held=held, reason=reason)
        return snapshot

    @audited("prune")
    def prune(
        self,
        *,
        undo_days: float = UNDO_DAYS,
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
        if undo_days < UNDO_DAYS and not dry_run:
            authorise(self._vault, "prune", {"undo_days": undo_days})
        if dry_run:
            return run_prune(self._vault, request, events=events)
        with governed(self._vault, None, kind="prune", events=events, stop=None) as steered:
            done = run_prune(self._vault, request, events=events)
            steered.tell()
            return done

    @audited("check")
    def check(self, *, show_paths: bool = False, events: Events = ignore) -> CheckReport:
        """Check the structure: every object's frame and signature, every reference, presence and size of each pack.

        What a missing or known bad pack costs is said: class, snapshots, count of files, and with `show_paths` which ones.
        """
        from holdfast.runs.check import run_check

        return run_check(self._vault, show_paths=show_paths, events=events)

    @audited("verify")
    def verify(
        self,
        *,
        sample: float = 1.0,
        older_than_days: float | None = None,
        snapshots: Sequence[str] = (),
        show_paths: bool = False,
        mark_damaged: bool = True,
        due: bool = False,
        content: bool = False,
        bytes_max: int | None = None,
        seconds_max: float | None = None,
        limits: Limits | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> VerifyReport:
        """Read packs back and prove them: name against hash, and with the class's key every segment and chunk id.

        `sample` is the part of all packs to read, those that waited longest first; `older_than_days` only packs not
        verified for so long, `due` only packs of which a copy was not read within its class's interval. What this host opened
        once is proved by its name afterwards; `content` opens everything again. `bytes_max` and `seconds_max` are budgets
        of packs and parity: `left` counts packs that they did not pay for, and the next run begins with that. Every further copy
        of a pack, on other stores, is read and hashed too. Damage is listed in a signed `damaged/N`, so that the next
        backup of each source stores the affected content again (unless `mark_damaged` is False).
        """
        from holdfast.runs.verify import VerifyRequest, run_verify

        if not 0 < sample <= 1:
            raise UsageError("a sample is a part of the whole, above 0 and at most 1")
        if bytes_max is not None and bytes_max <= 0:
            raise UsageError("a budget of bytes is above 0")
        if seconds_max is not None and not seconds_max > 0:
            raise UsageError("a budget of time is above 0")
        request = VerifyRequest(
            sample, older_than_days, tuple(snapshots), show_paths, mark_damaged, due, content, bytes_max, seconds_max
        )
        return run_verify(self._vault, request, events=events, limits=limits, stop=stop)

    def stats(self, *, by_snapshot: bool = True) -> VaultStats:
        """Return where the space goes: by class, source and snapshot."""
        from holdfast.runs.stats import run_stats

        return run_stats(self._vault, by_snapshot=by_snapshot)

    @audited("backup")
    def store_wal(self, application: str, *, events: Events = ignore, stop: Cancel | None = None) -> BackupResult:
        """Store a configured PostgreSQL application's WAL spool as a snapshot, and empty the spool of what is stored.

        Between base backups, as often as the recovery point asks for. Gaps raise the alert `wal-gap`. `ConfigError` if the
        application has no spool.
        """
        from holdfast.runs.applications import spool_of
        from holdfast.runs.wal import store_log

        if self._config is None:
            raise UsageError(
                "applications are named in a configuration", next="open the vault by its configuration file."
            )
        spool = spool_of(self._config.settings, application)
        options = BackupOptions(limits=configured.limits(self._config.settings))
        return store_log(self._vault, application, raw_path(spool), options, events=events, stop=stop)

    @audited("restore")
    def prepare_recovery(
        self,
        application: str,
        to: PathLike,
        *,
        target: RecoveryTarget,
        snapshot: str = "",
        mounted: bool = False,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> Prepared:
        """Restore a PostgreSQL application into an empty folder, with its WAL and the settings that bring it to a target.

        `mounted`: `to` is a writable mount of the base backup, and only what recovery needs is added to it.
        `snapshot` selects the base backup; without it the newest that ended before the target is taken. What comes back can
        be tried out (`holdfast.runs.start.check_recovery`) or started. Nothing of the running application is touched.
        `SnapshotMissingError`, `RecoveryError`.
        """
        from holdfast.runs.recovery import prepare_recovery

        return prepare_recovery(
            self._vault,
            self._vault.snapshots(),
            application,
            Path(os.path.abspath(os.fsdecode(to))),
            target=target,
            selected=self.snapshot(snapshot).info if snapshot else None,
            mounted=mounted,
            events=events,
            stop=stop,
        )
