"""From the settings of policies to the book that decides: translation, the healthcare defaults, and every fault at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.base.units import format_seconds
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy, Move, PolicyBook, StoreFacts, problems
from holdfast.classes.routing import level_of, place
from holdfast.errors import ConfigError, UsageError
from holdfast.runs.tier_results import PolicyExplained, PolicyRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.config import PolicySettings, Settings
    from holdfast.runs.options import PathLike
    from holdfast.runs.tiering import Tiers

__all__ = ["explain_class", "explain_path", "level_for", "policy_book", "policy_problems", "policy_rows", "tiers"]

RESERVED = ("home", "spool")
DEFAULT = "default"
"""The policy of every class that has none of its own."""
_STORE = "store:"


def tiers(settings: Settings) -> Tiers | None:
    """Return which packs go where; None where no policy is configured. `ConfigError` with every fault of the policies."""
    if not settings.policies and not settings.tiers:
        return None
    from holdfast.runs.tiering import Tiers

    found = policy_problems(settings)
    if found:
        raise ConfigError(
            f"the policies have {len(found)} faults" if len(found) > 1 else "the policies have 1 fault",
            problems=found,
            next="correct them; `holdfast policy check` lists them again.",
        )
    book = policy_book(settings)
    named = frozenset[str]().union(*(policy.named for policy in book.policies.values()))
    urls = {name: f"{_STORE}{name}" for name in settings.stores if name in named and name != _home_name(settings)}
    spool = settings.spool
    return Tiers(book, urls, spool.folder, spool.bytes_max, spool.alarm_seconds, settings.vault.home_copy)


def policy_book(settings: Settings) -> PolicyBook:
    """Return the policies of every class, from the settings over the healthcare defaults."""
    home = _home_name(settings)
    given = dict(settings.policies)
    rest = given.pop(DEFAULT, None)
    names = {**dict.fromkeys(HEALTHCARE), **dict.fromkeys(given)}
    policies = {name: _policy(name, given.get(name, rest), home) for name in names}
    stores = {HOME: StoreFacts(HOME)}
    stores |= {name: StoreFacts(name) for name in settings.stores if name != home}
    for name, tier in settings.tiers.items():
        own = HOME if name == home else name
        if own in stores:
            stores[own] = StoreFacts(
                name=own,
                tier=tier.tier,
                classes=frozenset(tier.classes),
                lock_seconds=tier.lock_seconds,
                thaw_seconds=tier.thaw_seconds,
                read_bytes_per_s=tier.read_bytes_per_s,
                price_per_gib=float(tier.price_per_gib),
                price_per_1000=float(tier.price_per_1000),
            )
    return PolicyBook(policies, stores)


def level_for(settings: Settings, class_name: str) -> int:
    """Return the level of compression of jobs whose default class this is."""
    if not settings.policies:
        return settings.backup.level
    return level_of(policy_book(settings).of(class_name), settings.backup.level)


def _policy(name: str, given: PolicySettings | None, home: str) -> ClassPolicy:
    preset = HEALTHCARE.get(name, HEALTHCARE["phi-restricted"])
    if given is None:
        return ClassPolicy(name, copies=preset.copies, verify_seconds=preset.verify_seconds)

    def own(stores: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(HOME if store == home else store for store in stores)

    return ClassPolicy(
        name=name,
        stores=own(given.stores) or (HOME,),
        copies=given.copies or (1 if given.unsafe_single_copy and len(given.stores) < preset.copies else preset.copies),
        moves=tuple(Move(move.after, own(move.stores), move.unless_restored_within) for move in given.moves),
        level=given.level,
        verify_seconds=given.verify_seconds or preset.verify_seconds,
        retain_seconds=given.retain_seconds,
        spool=given.spool,
        single_copy_accepted=given.unsafe_single_copy,
        parity=given.parity,
    )


def policy_problems(settings: Settings) -> tuple[str, ...]:
    """Return every fault of the policies, tiers and spool, each as `key: sentence`."""
    book = policy_book(settings)
    found = [f"stores.{name}: a store cannot be called so" for name in RESERVED if name in settings.stores]
    known = {*settings.stores, HOME}
    found += [f"tiers.{name}: there is no store {name}" for name in settings.tiers if name not in known]
    for name, tier in settings.tiers.items():
        found += [
            f"tiers.{name}.classes: there is no data class {one}" for one in tier.classes if one not in HEALTHCARE
        ]
    vault = settings.vault
    keys = {
        f"vault.{key}": os.path.realpath(ref.place)
        for key, ref in (("key_file", vault.key_file), ("passphrase", vault.passphrase))
        if ref is not None and ref.scheme == "file"
    }
    found += problems(book, key_files=keys, folders=_folders(settings))
    found += _twins(settings)
    return tuple(dict.fromkeys(found))


def policy_rows(book: PolicyBook) -> tuple[PolicyRow, ...]:
    """Return what is done with each class, the most sensitive first."""
    return tuple(
        PolicyRow(
            class_name=policy.name,
            copies=policy.copies,
            stores=policy.stores,
            moves=_moves(policy),
            verify_seconds=policy.verify_seconds,
            retain_seconds=policy.retain_seconds,
            level=policy.level,
            spool=policy.spool,
        )
        for policy in book.policies.values()
    )


def _moves(policy: ClassPolicy) -> tuple[str, ...]:
    found = []
    for move in policy.moves:
        text = f"{', '.join(move.stores[: policy.copies])} when older than {format_seconds(move.after_seconds)}"
        if move.unless_restored_within:
            text += f", unless restored from within {format_seconds(move.unless_restored_within)}"
        found.append(text)
    return tuple(found)


def explain_class(book: PolicyBook, class_name: str, *, files: int = 0, reason: str = "asked for") -> PolicyExplained:
    """Return where packs of a class go, now and later, and why."""
    wanted = place(book, class_name)
    policy = book.of(class_name)
    return PolicyExplained(
        class_name=class_name,
        files=files,
        class_reason=reason,
        stores=wanted.stores,
        alternates=wanted.alternates,
        store_reason=f"policy of {policy.name}, {wanted.reason}: {policy.copies} copies",
        moves=_moves(policy),
        allowed=tuple(sorted(book.allowed(class_name))),
        metadata=HOME,
    )


def explain_path(settings: Settings, path: PathLike, *, job: str = "") -> tuple[PolicyExplained, ...]:
    """Return into which data classes what lies at a path falls, by a job's rules and by its content, and where each goes.

    Nothing is stored, and no name is said. `UsageError` if there is no such job, `SourceMissingError`.
    """
    from holdfast.runs.classify import classify
    from holdfast.runs.configured import backup_options

    if job and job not in settings.jobs:
        known = ", ".join(sorted(settings.jobs)) or "none"
        raise UsageError(f"the configuration has no job {job}", next=f"its jobs are: {known}.")
    book = policy_book(settings)
    rules = f"by the rules of job {job}" if job else "by the default class"
    found = []
    for kind in classify(path, options=backup_options(settings, job) if job else None).kinds:
        reason = f"recognised as {kind.rule} ({kind.confidence})" if kind.rule else rules
        found.append(explain_class(book, kind.class_name, files=kind.files, reason=reason))
    return tuple(found)


def _home_name(settings: Settings) -> str:
    """Return what the stores' table calls the home, or `home`."""
    url = settings.vault.url
    return url.removeprefix(_STORE) if url.startswith(_STORE) else HOME


def _twins(settings: Settings) -> list[str]:
    """Return the stores that are one place under two names: their two copies would be one."""
    folders = _folders(settings)
    places: dict[str, str] = {}
    found = []
    rest = {name: store.url for name, store in settings.stores.items()}
    for name, where in {**rest, **folders}.items():
        if where in places:
            found.append(f"stores.{name}: it is the same place as {places[where]}: two copies there would be one")
        places[where] = name
    return found


def _folders(settings: Settings) -> Mapping[str, str]:
    """Return the stores that are folders, by their real paths."""
    urls = {name: store.url for name, store in settings.stores.items()}
    if not settings.vault.url.startswith(_STORE):
        urls[HOME] = settings.vault.url
    found = {}
    for name, url in urls.items():
        if url.startswith("file://"):
            found[name] = os.path.realpath(url.removeprefix("file://"))
        elif "://" not in url and not url.startswith("memory:"):
            found[name] = os.path.realpath(os.path.expanduser(url))
    return found
