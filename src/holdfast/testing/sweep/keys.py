"""Commands about keys: slots, kits, shares, credentials, rotation and erasure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast
from holdfast.errors import HoldfastError, KeyRotationError, NotPermittedError
from holdfast.repository import writers
from holdfast.testing.sweep.backups import changed
from holdfast.testing.sweep.command import Command
from holdfast.testing.sweep.ground import Ground, repository_of

__all__ = ["KEYS", "kept", "opens"]

PASSPHRASE = "a sweep's passphrase"  # noqa: S105 - it protects nothing
CREDENTIAL, KIT = "credential", "kit"
LABEL = "host-1"


def kept(ground: Ground, name: str, secret: bytes) -> Path:
    """Keep a secret as people would: a file of their own."""
    path = ground.live / name
    path.write_bytes(secret)
    path.chmod(0o600)
    return path


def opens(ground: Ground, **secret: object) -> bool:
    """Return whether a secret opens the vault and shows its snapshots' envelopes."""
    try:
        with ground.open(**secret) as vault:
            return bool(repository_of(vault).classes)
    except (HoldfastError, FileNotFoundError):
        return False


def _by(ground: Ground, name: str) -> bool:
    secret = "key_file" if name in {KIT, "key"} else "credential"
    return (ground.live / name).exists() and opens(ground, **{secret: ground.live / name})


def _issues(role: str) -> Callable[[Ground, holdfast.Vault], object]:
    def do(ground: Ground, vault: holdfast.Vault) -> object:
        issued = vault.issue_credential(role, LABEL)
        kept(ground, "key" if role == "root" else CREDENTIAL, issued)
        return issued

    return do


def _issued(role: str) -> Callable[[Ground], None]:
    def prepare(ground: Ground) -> None:
        with ground.open() as vault:
            _issues(role)(ground, vault)

    return prepare


def _is_listed(_ground: Ground, vault: holdfast.Vault) -> bool:
    return LABEL in {writer.label for writer in writers.list_writers(repository_of(vault))}


def _enroll(ground: Ground, vault: holdfast.Vault) -> object:
    made = vault.enroll_writer(LABEL)
    kept(ground, CREDENTIAL, made)
    return made


def _enrolled(ground: Ground) -> None:
    with ground.open() as vault:
        _enroll(ground, vault)


def _with_snapshot(ground: Ground) -> None:
    """A writer that stored a snapshot of its own."""
    _enrolled(ground)
    ground.write("phi/of-host-1", 4)
    with ground.open(credential=ground.live / CREDENTIAL) as vault:
        ground.backup(vault)


def _is_revoked(ground: Ground, _vault: holdfast.Vault) -> bool:
    try:
        with ground.open(credential=ground.live / CREDENTIAL):
            return False
    except NotPermittedError:
        return True


def _reissue(ground: Ground, vault: holdfast.Vault) -> object:
    made = vault.reissue_writer(LABEL)
    kept(ground, CREDENTIAL, made)
    return made


def _reissued(ground: Ground, _vault: holdfast.Vault) -> bool:
    changed(ground)
    with ground.open(credential=ground.live / CREDENTIAL) as vault:
        return ground.backup(vault).exit_code == 0


def _kit(ground: Ground, vault: holdfast.Vault) -> object:
    return kept(ground, KIT, vault.recovery_kit(label=KIT))


def _kit_made(ground: Ground) -> None:
    with ground.open() as vault:
        _kit(ground, vault)


@contextmanager
def _by_kit(ground: Ground) -> Iterator[holdfast.Vault]:
    with ground.open(key_file=ground.live / KIT) as vault:
        yield vault


def _rehearsed(_ground: Ground, vault: holdfast.Vault) -> bool:
    return bool(list(repository_of(vault).home.listed("rehearsal")))


def _split(ground: Ground, vault: holdfast.Vault) -> object:
    made = vault.split_key(2, 3, label="directors")
    for number, sheet in enumerate(made.sheets):
        kept(ground, f"sheet-{number}", sheet)
    return made


def _joined_by_two(ground: Ground, _vault: holdfast.Vault) -> bool:
    return opens(ground, shares=[ground.live / "sheet-0", ground.live / "sheet-2"])


def _rotate(_ground: Ground, vault: holdfast.Vault) -> object:
    """Rotate; if somebody began and died before anybody had the new key, begin anew, as the error says."""
    try:
        return vault.rotate_root()
    except KeyRotationError as error:
        if "--again" not in error.next:
            raise
        return vault.rotate_root(again=True)


def _rotated(ground: Ground, vault: holdfast.Vault) -> bool:
    """Another root key is in force, all keys that were there open the vault, and only one keyring is left."""
    repository = repository_of(vault)
    one = len(list(repository.home.listed("keyring"))) == 1
    return repository.require_keyring().epoch > 0 and one and _by(ground, KIT)


def _with_holders(ground: Ground) -> None:
    """A kit, and the credentials of a writer and of a restorer."""
    _kit_made(ground)
    with ground.open() as vault:
        kept(ground, "restorer", vault.issue_credential("restorer", "reader"))
    _with_snapshot(ground)


def _renewed(ground: Ground, vault: holdfast.Vault) -> bool:
    """New content goes under the new generation, and its holders have what they need: the writer writes, the restorer reads."""
    known = repository_of(vault).generation(repository_of(vault).class_id("phi"))
    changed(ground)
    with ground.open(credential=ground.live / CREDENTIAL) as writer:
        ground.backup(writer)
    with ground.open(credential=ground.live / "restorer") as reader:
        whole = ground.restored(reader) == ground.content()
    return whole and known is not None and known.generation > 0


def _revoke_slot(_ground: Ground, vault: holdfast.Vault) -> object:
    try:
        return vault.revoke_key(KIT)
    except KeyRotationError as error:
        if "--again" not in error.next:
            raise
        return vault.rotate_root(drop=[KIT], again=True)


def _old_generation(ground: Ground) -> None:
    """A class with a newer generation, and one snapshot under it."""
    with ground.open() as vault:
        vault.rotate_classes(["imaging"])
    ground.write("imaging/d", 5)
    with ground.open() as vault:
        ground.backup(vault)


def _shred(_ground: Ground, vault: holdfast.Vault) -> object:
    return vault.shred("imaging", 0, reason="a sweep", with_snapshots=True)


def _shredded(ground: Ground) -> None:
    """A generation erased but for a credential that reads it."""
    with ground.open() as vault:
        kept(ground, "restorer", vault.issue_credential("restorer", "reader"))
    _old_generation(ground)
    given_up = _but_newest(ground)
    with ground.open() as vault:
        _shred(ground, vault)
        vault.revoke_key("reader")
    for snapshot in given_up:
        del ground.acknowledged[snapshot]


def _but_newest(ground: Ground) -> frozenset[str]:
    return frozenset(list(ground.acknowledged)[:-1])


def _erased(_ground: Ground, vault: holdfast.Vault) -> bool:
    (found,) = vault.erasures()
    return found.erased and len(list(repository_of(vault).home.listed("keyring"))) == 1


def _certified(_ground: Ground, vault: holdfast.Vault) -> bool:
    (found,) = vault.erasures()
    return bool(found.outstanding)


def _said_destroyed(_ground: Ground, vault: holdfast.Vault) -> bool:
    return "destroyed" in {row.state for row in vault.key_ledger() if row.label == "reader"}


KEYS: tuple[Command, ...] = (
    Command("enroll", _enroll, _is_listed),
    Command("revoke", lambda _g, v: v.revoke_writer(LABEL), _is_revoked, _with_snapshot),
    Command("key: recovery kit", _kit, lambda g, _v: _by(g, KIT)),
    Command(
        "key: passphrase",
        lambda _g, v: v.add_passphrase(PASSPHRASE),
        lambda g, _v: opens(g, passphrase=PASSPHRASE),
    ),
    Command("key: shares", _split, _joined_by_two),
    Command("key: root key file", _issues("root"), lambda g, _v: _by(g, "key")),
    Command("key: restorer", _issues("restorer"), lambda g, _v: _by(g, CREDENTIAL)),
    Command("key: pruner", _issues("pruner"), lambda g, _v: _by(g, CREDENTIAL)),
    Command("key: reissue", _reissue, _reissued, _with_snapshot),
    Command("key: revoke a restorer", lambda _g, v: v.revoke_key(LABEL), _is_revoked, _issued("restorer")),
    Command("key: revoke a slot", _revoke_slot, lambda g, _v: not _by(g, KIT), _kit_made),
    Command("key: rotate root", _rotate, _rotated, _kit_made),
    Command("key: rotate classes", lambda _g, v: v.rotate_classes(["phi"]), _renewed, _with_holders),
    Command("key: rehearse", lambda _g, v: v.rehearse(), _rehearsed, _kit_made, open=_by_kit),
    Command("shred", _shred, _erased, _old_generation, gives_up=_but_newest),
    Command("key: certify", lambda _g, v: v.certify_erasure("imaging", 0), _certified, _shredded),
    Command(
        "key: destroyed",
        lambda _g, v: v.key_destroyed("reader", "burnt, by a sweep"),
        _said_destroyed,
        _shredded,
    ),
)
