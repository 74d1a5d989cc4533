"""From a configuration to what runs take: pure translation, no defaults of its own."""

from __future__ import annotations

import os
from dataclasses import field, replace
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import ConfigError, UsageError
from holdfast.reliability.audit.record import digest_of
from holdfast.reliability.breaker import BreakerPolicy
from holdfast.reliability.retry import POLICIES, RetryPolicy
from holdfast.reliability.telemetry import Endpoint
from holdfast.runs.assembly import Resilience
from holdfast.runs.options import BackupOptions, ClassRule, Limits, Stream
from holdfast.runs.policies import level_for, tiers
from holdfast.runs.results import RetentionPolicy
from holdfast.runs.trail import TrailOptions
from holdfast.runs.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    # Types only: a command without a configuration does not pay for reading one.
    from holdfast.config import Config, SecretRef, Settings, StoreSettings
    from holdfast.governor.plan import GovernorPlan
    from holdfast.runs.options import PathLike
    from holdfast.runs.tiering import Tiers

__all__ = [
    "Access",
    "access",
    "backup_options",
    "breaker_policy",
    "configuration",
    "configured_resilience",
    "faults_of_policies",
    "governor_plan",
    "job_paths",
    "limits",
    "retention_policy",
    "retry_policies",
    "telemetry_endpoint",
    "trail_options",
    "watch",
]


@dataclass(frozen=True, slots=True)
class Access:
    """Which vault, and what opens it: the arguments of `Vault.open`."""

    url: str
    key_file: str | None = None
    passphrase: str | None = None
    credential: str | None = None
    shares: tuple[str, ...] = ()
    key_service: str | None = None
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)
    """The tables that `store:NAME` refers to."""
    tiers: Tiers | None = None
    """Which packs go where; None: all stay on the home."""


def configuration(url: PathLike) -> Config | None:
    """Return the configuration, if what is to be opened is one."""
    path = os.fsdecode(url)
    if not path.endswith(".toml"):
        return None
    from holdfast.config import load

    return load(path, further=faults_of_policies)


def faults_of_policies(settings: Settings) -> tuple[str, ...]:
    """Return what is wrong with the policies, for a configuration that has other faults; imported late."""
    from holdfast.runs.policies import policy_problems

    return policy_problems(settings) if settings.policies or settings.tiers else ()


def access(config: Config, environ: Mapping[str, str]) -> Access:
    """Return what opens the configured vault. `ConfigError` if a secret cannot be read, or a key file is no file."""
    vault = config.settings.vault
    return Access(
        url=vault.url,
        key_file=_file(vault.key_file, "vault.key_file"),
        passphrase=vault.passphrase.reveal(environ) if vault.passphrase else None,
        credential=_file(vault.credential, "vault.credential"),
        key_service=vault.key_service or None,
        stores=config.settings.stores,
        tiers=tiers(config.settings),
    )


def _file(reference: SecretRef | None, key: str) -> str | None:
    if reference is None:
        return None
    if reference.scheme != "file":
        raise ConfigError(f"{key} must be a file: `file:/path`")
    return reference.place


def job_paths(settings: Settings, name: str) -> tuple[str, ...]:
    """Return the paths of a configured job. `UsageError` if there is no such job or it has nothing to back up."""
    job = settings.jobs.get(name)
    if job is None:
        known = ", ".join(sorted(settings.jobs)) or "none"
        raise UsageError(f"the configuration has no job {name}", next=f"its jobs are: {known}.")
    if not job.paths and not job.streams and not job.applications:
        raise UsageError(
            f"the job {name} has neither paths nor streams nor applications", next="give it some in the configuration."
        )
    return job.paths


def limits(settings: Settings, job: str = "") -> Limits:
    """Return the configured limits of a run; those of a job go before, one by one."""
    general = settings.limits.model_dump()
    own = settings.jobs[job].limits if job in settings.jobs else None
    named = own.model_dump(exclude_none=True) if own is not None else {}
    return Limits(**(general | named))


def governor_plan(settings: Settings, environ: Mapping[str, str]) -> GovernorPlan:
    """Return how runs are governed. `ProbeUnusableError` if a probe cannot be used."""
    from holdfast.runs.governor_settings import plan_of

    return plan_of(settings, environ)


def backup_options(settings: Settings, name: str) -> BackupOptions:
    """Return how the job of that name is backed up. The job must exist."""
    job, backup = settings.jobs[name], settings.backup
    return BackupOptions(
        exclude=job.exclude,
        exclude_caches=job.exclude_caches,
        exclude_larger_than=job.exclude_larger_than,
        one_file_system=job.one_file_system,
        class_rules=tuple(ClassRule(rule.pattern, rule.name) for rule in job.classes),
        default_class=job.default_class,
        detect=job.detect,
        paranoid=job.paranoid,
        audit_files=job.audit_files,
        tags=job.tags,
        streams=tuple(Stream(row.path, row.command, row.class_name, row.environment) for row in job.streams),
        host_root=job.host_root,
        checkpoint_bytes=backup.checkpoint_bytes,
        checkpoint_seconds=float(backup.checkpoint_seconds),
        pack_bytes=backup.pack_bytes,
        level=level_for(settings, job.default_class),
        workers=backup.workers,
        upload_threads=backup.upload_threads,
        limits=limits(settings, name),
    )


def trail_options(settings: Settings) -> TrailOptions:
    """Return how the audit log is kept. Its policy is the digest of every setting but the vault's own table.

    That one says where the vault is and how it is opened, which the command line may say, too: the policy is the same.
    """
    from holdfast.reliability.audit.collect import Collector

    audit = settings.audit
    return TrailOptions(
        anchor_seconds=float(audit.anchor_seconds),
        algorithm=audit.algorithm,
        retain_seconds=audit.retain_seconds,
        policy=digest_of(settings.model_dump_json(exclude={"vault"})),
        site=audit.site,
        telemetry=telemetry_endpoint(settings, os.environ),
        collectors=tuple(
            Collector(
                name=name,
                host=each.host,
                port=each.port,
                protocol=each.protocol,
                ca_file=each.ca_file,
                certificate=each.certificate,
                key=_file(each.key, f"collectors.{name}.key"),
                timeout_seconds=float(each.timeout_seconds),
                send_seconds=float(each.send_seconds),
                site=audit.site,
            )
            for name, each in settings.collectors.items()
        ),
    )


def telemetry_endpoint(settings: Settings, environ: Mapping[str, str]) -> Endpoint | None:
    """Return where traces and figures are sent; None if nowhere. `ConfigError` if the token cannot be read."""
    said = settings.telemetry
    if not said.endpoint:
        return None
    return Endpoint(
        url=said.endpoint,
        token=said.token.reveal(environ).strip() if said.token else "",
        ca_file=said.ca_file or "",
        seconds=float(said.timeout_seconds),
        site=settings.audit.site,
        host=os.uname().nodename,
    )


def watch(settings: Settings) -> Watch:
    """Return what backups watch for."""
    anomaly = settings.anomaly
    return Watch.of(
        extensions=anomaly.extensions,
        notes=anomaly.notes,
        ignored=anomaly.ignored,
        lock_days=anomaly.lock_days,
        lock_objects_max=anomaly.lock_objects_max,
    )


def retry_policies(settings: Settings) -> dict[str, RetryPolicy]:
    """Return the retry policy of each kind of failure: its default, and what the configuration says over it."""
    found = {}
    for name in type(settings.retry).model_fields:
        kind, said = name.replace("_", "-"), getattr(settings.retry, name)
        changes = {key: value for key, value in said.model_dump().items() if value is not None}
        found[kind] = replace(POLICIES[kind], **changes)
    return found


def breaker_policy(settings: Settings) -> BreakerPolicy:
    """Return when a store that fails in a row is left alone."""
    breaker = settings.breaker
    return BreakerPolicy(breaker.failures, float(breaker.open_seconds), float(breaker.longest_seconds))


def configured_resilience(settings: Settings) -> Resilience:
    """Return how stores are retried and left alone."""
    return Resilience(retry_policies(settings), breaker_policy(settings))


def retention_policy(settings: Settings) -> RetentionPolicy:
    """Return the configured retention."""
    keep = settings.retention
    return RetentionPolicy(
        last=keep.last,
        hourly=keep.hourly,
        daily=keep.daily,
        weekly=keep.weekly,
        monthly=keep.monthly,
        yearly=keep.yearly,
        within_days=keep.within_days,
        pitr_days=keep.pitr_days,
        tags=frozenset(keep.tags),
        classes={
            name: RetentionPolicy(
                last=own.last,
                hourly=own.hourly,
                daily=own.daily,
                weekly=own.weekly,
                monthly=own.monthly,
                yearly=own.yearly,
                within_days=own.within_days,
                tags=frozenset(keep.tags),
            )
            for name, own in keep.classes.items()
        },
    )
