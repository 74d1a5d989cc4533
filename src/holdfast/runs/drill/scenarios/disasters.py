"""What happens to vaults and sites: hosts, stores, packs, indexes, keys, networks, attackers. Each acts on a copy."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from holdfast.errors import AccessError, DamageError, DrillRefusedError, HoldfastError, UsageError, WrongKeyError
from holdfast.repository import writers
from holdfast.repository.credentials import KeyFile
from holdfast.repository.retention import suspicious
from holdfast.repository.snapshots import of_source
from holdfast.runs.anomaly import SCORE_MAX
from holdfast.runs.assembly import OpenVault, open_vault
from holdfast.runs.backup import BackupRequest, run_backup
from holdfast.runs.drill.lastgood import last_good
from holdfast.runs.drill.place import check_place
from holdfast.runs.drill.plan import choose, production_of
from holdfast.runs.drill.scenarios.cold import THAW_SECONDS, ColdStore
from holdfast.runs.drill.scenarios.copies import copied, flip_bytes, packs_of_content
from holdfast.runs.drill.scenarios.scenario import Arranged, Broken, Detected, Scenario
from holdfast.runs.options import BackupOptions, Limits
from holdfast.runs.repair import run_repair_index
from holdfast.runs.restore import RestoreRequest, run_restore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.types import SnapshotInfo

__all__ = [
    "SCENARIOS",
    "cold_tier",
    "corrupt_index",
    "corrupt_pack",
    "expired_credential",
    "lost_host",
    "lost_key_slot",
    "lost_store",
    "ransomware",
    "site_loss",
    "slow_network",
    "wrong_target",
]

SLOW_BYTES_PER_S = 4 << 20
SCRAMBLED_BYTES = 1 << 20
SCRAMBLED_FILES_MAX = 2000


def _open(broken: Broken, key_file: str | None = None) -> OpenVault:
    return open_vault(
        broken.copy.url, key_file=key_file or broken.copy.key_file, passphrase=None, credential=None, env=broken.env
    )


def lost_host(broken: Broken) -> Arranged:
    """Keep nothing of the host: no state, no cache, no catalog, no configuration's key. The copy and its kit are enough."""
    return Arranged(broken.copy.url, broken.copy.key_file, note="with a new, empty state and the kit")


def lost_store(broken: Broken) -> Arranged:
    """Lose the primary store as a whole; a second copy is what is left."""
    second = copied(broken.vault, broken.folder, "second-copy")
    shutil.rmtree(broken.copy.url)
    try:
        _open(broken).close()
    except HoldfastError as error:
        return Arranged(second.url, second.key_file, note=f"the lost store says `{error.code}`; from the second copy")
    raise Detected("a store that is gone was opened")  # pragma: no cover - it cannot be


def corrupt_pack(broken: Broken) -> Arranged:
    """Change bytes all over the largest pack that the service's snapshot may need."""
    for name in packs_of_content(broken.copy)[:1]:
        path = broken.copy.path(name)
        flip_bytes(path, range(200, os.path.getsize(path) - 1, 997))
    return Arranged(broken.copy.url, broken.copy.key_file)


def corrupt_index(broken: Broken) -> Arranged:
    """Damage every index run and lose the catalog; the index is made anew from the packs."""
    for name in broken.copy.names("index/"):
        path = broken.copy.path(name)
        flip_bytes(path, range(0, os.path.getsize(path), 7))
    with _opened(broken) as vault:
        try:
            vault.index()
            said = "no error"
        except DamageError as error:
            said = f"`{error.code}`"
        repaired = run_repair_index(vault)
    return Arranged(
        broken.copy.url, broken.copy.key_file, note=f"{said} at first; {repaired.packs_listed} packs listed anew"
    )


def lost_key_slot(broken: Broken) -> Arranged:
    """Lose every key slot but the recovery kit's; a key that has no slot any more is refused."""
    removed = broken.copy.remove([name for name in broken.copy.names("key/") if name != broken.copy.slot])
    stranger = os.path.join(broken.folder, "stranger.key")
    from pathlib import Path

    KeyFile.new(broken.env).write(Path(stranger))
    try:
        _open(broken, stranger).close()
    except WrongKeyError as error:
        return Arranged(
            broken.copy.url,
            broken.copy.key_file,
            note=f"{removed} slots lost, a key without a slot gets `{error.code}`, the kit opens",
        )
    raise Detected("a key without a slot opened the vault")  # pragma: no cover - it cannot


def expired_credential(broken: Broken) -> Arranged:
    """Revoke the host's credential; it is refused by name, and the recovery kit still restores."""
    with _opened(broken) as vault:
        credential = writers.enrol(vault.repository, "drilled-host", ())
        place = os.path.join(broken.folder, "host.credential")
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(credential.encode())
        writers.revoke(vault.repository, writers.find_writer(vault.repository, "drilled-host").id)
    try:
        open_vault(broken.copy.url, key_file=None, passphrase=None, credential=place, env=broken.env).close()
    except AccessError as error:
        return Arranged(
            broken.copy.url, broken.copy.key_file, note=f"the credential gets `{error.code}`; the kit opens"
        )
    raise Detected("a revoked credential was accepted")  # pragma: no cover - it is not


def ransomware(broken: Broken) -> Arranged:
    """Let a host with the service's files be encrypted and go on backing up; find its last good snapshot and restore it."""
    with _opened(broken) as vault:
        good = choose(vault, broken.service, "")
        host, label = os.path.join(broken.folder, "attacked-host"), f"{good.label}-attacked"
        run_restore(vault, good, RestoreRequest(to=os.fsencode(host)))
        request = BackupRequest((os.fsencode(host),), label, BackupOptions(update_catalog=False))
        before = run_backup(vault, request).snapshot
        _scramble(broken, host)
        run_backup(vault, request)
        # The attacker goes on backing up: what follows an attack does not make it good.
        run_backup(vault, request)
        history = of_source(vault.snapshots(), label)
        found = last_good(vault, history)
    shutil.rmtree(host)
    if found is None or before is None or found.id != before.id:
        raise Detected("the last good snapshot was not found: an encrypted one was taken for it")
    return Arranged(
        broken.copy.url,
        broken.copy.key_file,
        snapshot=good.id,
        note=f"the last good of {len(history)} snapshots was found by {_by(history)}",
    )


def _by(history: Sequence[SnapshotInfo]) -> str:
    """Return what told the encrypted snapshots: their scores, or (what is small, or was noise before) what changed in the trees."""
    scores = [info.anomaly for info in history if suspicious(info)]
    return f"its score ({scores[0]} of {SCORE_MAX})" if scores else "what changed"


def _scramble(broken: Broken, folder: str) -> None:
    """Do what ransomware does: replace contents by what cannot be told from noise, and give files another name."""
    count = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inner, name)
            if os.path.islink(path) or not os.path.isfile(path) or count >= SCRAMBLED_FILES_MAX:
                continue
            count += 1
            with open(path, "r+b") as file:
                file.write(broken.env.random_bytes(max(64, min(SCRAMBLED_BYTES, os.path.getsize(path)))))
            os.rename(path, path + ".locked")


def site_loss(broken: Broken) -> Arranged:
    """Lose the whole site: what is left is a medium that can only be read, and the kit from the safe."""
    for inner, folders, names in os.walk(broken.copy.url):
        for name in (*folders, *names):
            path = os.path.join(inner, name)
            os.chmod(path, 0o500 if os.path.isdir(path) else 0o400)
    return Arranged(broken.copy.url, broken.copy.key_file, note="from a read-only medium and the kit")


def slow_network(broken: Broken) -> Arranged:
    """Read from the store no faster than a poor line gives."""
    return Arranged(
        broken.copy.url,
        broken.copy.key_file,
        limits=Limits(read_bytes_per_s=SLOW_BYTES_PER_S),
        note="at 4 MiB/s from the store",
    )


def cold_tier(broken: Broken) -> Arranged:
    """Keep all content in a class of storage that must be thawed before it can be read."""
    if not broken.copy.names("data/"):
        raise UsageError("this scenario does not apply: the vault has no packs of content", next="choose another.")
    return Arranged(
        broken.copy.url,
        broken.copy.key_file,
        behind=lambda store: ColdStore(store, broken.env),
        note=f"content was asked for, and thawed within {THAW_SECONDS:.0f} s",
    )


def wrong_target(broken: Broken) -> Arranged:
    """Let an operator name production as the place of the drill."""
    production = production_of(broken.vault, broken.settings)
    for folder in production:
        try:
            check_place(os.path.join(folder, "drills"), production=production)
        except DrillRefusedError as error:
            raise Detected(f"refused: {error.what}") from None
    return Arranged(broken.copy.url, broken.copy.key_file)  # pragma: no cover - the vault is always among them


class _opened:  # noqa: N801 - reads as a statement
    """The copy, open for a while."""

    def __init__(self, broken: Broken) -> None:
        self._vault = _open(broken)

    def __enter__(self) -> OpenVault:
        return self._vault

    def __exit__(self, *_: object) -> None:
        self._vault.close()


DAMAGE = frozenset({"damage", "object-missing"})
SCENARIOS = (
    Scenario("lost-host", "The backed-up host is gone with its state, cache and catalog", "recovers", lost_host),
    Scenario("lost-store", "The primary store is gone; a second copy is left", "recovers", lost_store),
    Scenario("site-loss", "The site is gone; a read-only medium and the recovery kit are left", "recovers", site_loss),
    Scenario("corrupt-pack", "Bytes of a pack changed in the store", "detected", corrupt_pack, "damage", DAMAGE),
    Scenario("corrupt-index", "Every index run is damaged and the catalog is lost", "recovers", corrupt_index),
    Scenario("lost-key-slot", "All key slots but the recovery kit's are lost", "recovers", lost_key_slot),
    Scenario("expired-credential", "The host's credential was revoked", "recovers", expired_credential),
    Scenario("ransomware", "The service was encrypted, and backed up so", "recovers", ransomware),
    Scenario("slow-network", "The store answers slowly", "recovers", slow_network),
    Scenario("cold-tier", "All content lies cold and must be thawed first", "recovers", cold_tier),
    Scenario(
        "wrong-target",
        "An operator drills into production",
        "detected",
        wrong_target,
        errors=frozenset({"drill-refused"}),
    ),
)
