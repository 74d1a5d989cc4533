"""Ways to damage a vault, by name, and what must come of each: who notices, what is named, what still comes back, what mends it.

`CASES` is the table. Each way is a function that changes a copy of a golden vault's store as rot, a bad disk, a clumsy hand or
a hostile store would. `diagnose` looks at a vault as an administrator does: check, verify, restore of one snapshot. Whatever is
expected to be lost, what is restored under its name must be right: a wrong byte fails every case.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.errors import HoldfastError
from holdfast.testing.golden import Golden, entries_of

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository

__all__ = ["CASES", "Case", "Diagnosis", "Seen", "diagnose", "judge", "mend"]

DATA, METADATA, MAP = 1, 2, 3
PHI, IMAGING, DATABASE = 1, 3, 4
Repair = Literal["", "index", "forget", "all"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What came back of a snapshot: entries as they were, entries that are missing or marked, entries that are wrong."""

    right: int
    missing: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What an administrator sees. Each of the three is an exit code, or the code of the error that ended it."""

    check: int | str
    verify: int | str
    restore: int | str
    missing: int
    """Entries of the snapshot that do not come back under their own name."""
    packs: int = 0
    """Packs that `verify` names as damaged or missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to damage a vault, and what must come of it."""

    name: str
    damage: Callable[[Path], None]
    engine: Diagnosis
    rescue: tuple[int, int]
    """The rescue reader's exit code of a restore, and how many entries it does not bring back."""
    repair: Repair = ""
    """What mends it without another copy of the vault; empty: nothing does, or nothing need be mended."""
    after: Diagnosis | None = None
    """What is seen then."""


# --- the ways ---------------------------------------------------------------------------------------------------------------


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = change(path.read_bytes())
    path.chmod(0o600)
    path.write_bytes(data)


def _flip(path: Path, at: int) -> None:
    _change(path, lambda data: data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :])


def _packs(vault: Path, kind: int, class_id: int) -> list[Path]:
    """Return the packs of a kind and class, largest first: both stand in the clear."""
    found = []
    for path in vault.glob("data/*/*" if kind == DATA else "meta/*/*"):
        head = path.read_bytes()[:32]
        if (head[10], int.from_bytes(head[28:30], "little")) == (kind, class_id):
            found.append(path)
    return sorted(found, key=lambda path: (-path.stat().st_size, path.name))


def _in_pack(kind: int, class_id: int, place: Callable[[bytes], int], at: int = 0) -> Callable[[Path], None]:
    def damage(vault: Path) -> None:
        pack = _packs(vault, kind, class_id)[at]
        _flip(pack, place(pack.read_bytes()))

    return damage


def _segment(pack: bytes) -> int:
    return int(struct.unpack_from("<I", pack, 68)[0]) + 10


def _directory(pack: bytes) -> int:
    return len(pack) - 20


def _on_pack(
    change: Callable[[Path], object], kind: int = DATA, class_id: int = PHI, at: int = 0
) -> Callable[[Path], None]:
    def damage(vault: Path) -> None:
        change(_packs(vault, kind, class_id)[at])

    return damage


def _cut(path: Path) -> None:
    _change(path, lambda data: data[: len(data) // 2])


def _emptied(path: Path) -> None:
    _change(path, lambda _data: b"")


def _exchange_packs(vault: Path) -> None:
    first, second = _packs(vault, DATA, PHI)[0], _packs(vault, DATA, IMAGING)[0]
    one, other = first.read_bytes(), second.read_bytes()
    _change(first, lambda _data: other)
    _change(second, lambda _data: one)


def _every(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(vault: Path) -> None:
        for path in sorted(vault.glob(pattern)):
            change(path)

    return damage


def _of_latest(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A change of the objects of the manifest's newest snapshot; `{}` in the pattern is its id."""

    def damage(vault: Path) -> None:
        latest = Golden(vault.parent).manifest().latest
        for path in sorted(vault.glob(pattern.format(latest))):
            change(path)

    return damage


def _flipped_middle(path: Path) -> None:
    _flip(path, path.stat().st_size // 2)


def _flipped(path: Path) -> None:
    if path.is_file():
        _flipped_middle(path)


def _first(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(vault: Path) -> None:
        change(sorted(vault.glob(pattern))[0])

    return damage


def _newest(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(vault: Path) -> None:
        change(sorted(vault.glob(pattern))[-1])

    return damage


def _kept_twice(pattern: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A change of an object of the newest snapshot, in a vault whose decisions a prune or a repair has kept twice."""

    def damage(vault: Path) -> None:
        from holdfast.base.environment import system
        from holdfast.repository.credentials import KeyFile
        from holdfast.repository.repository import Repository
        from holdfast.repository.upkeep import keep_decisions
        from holdfast.stores.local import LocalStore

        key = KeyFile.read(Golden(vault.parent).key)
        keep_decisions(Repository.open(LocalStore(str(vault)), key, system()))
        _of_latest(pattern, change)(vault)

    return damage


def _with_twins(*patterns: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    """A change of what opens the vault, after a repair has kept it twice."""

    def damage(vault: Path) -> None:
        from holdfast.base.environment import system
        from holdfast.repository.credentials import KeyFile
        from holdfast.repository.repository import Repository
        from holdfast.repository.twin_repair import mend_twins
        from holdfast.stores.local import LocalStore

        key = KeyFile.read(Golden(vault.parent).key)
        mend_twins(Repository.open(LocalStore(str(vault)), key, system()))
        for pattern in patterns:
            _every(pattern, change)(vault)

    return damage


def _opened(vault: Path) -> Repository:
    from holdfast.base.environment import system
    from holdfast.repository.credentials import KeyFile
    from holdfast.repository.repository import Repository
    from holdfast.stores.local import LocalStore

    return Repository.open(LocalStore(str(vault)), KeyFile.read(Golden(vault.parent).key), system())


def _superseded_twin(vault: Path) -> None:
    """The twin of an older keyring, of which the object was deleted: as a host leaves it that was suspended between the two."""
    from holdfast.repository.twin_repair import mend_twins
    from holdfast.repository.writers import change_keyring

    root = _opened(vault)
    change_keyring(root, lambda ring: ring)
    mend_twins(root)
    sorted(vault.glob("keyring/*"))[-2].unlink()


def _foreign_in_both_forms(vault: Path) -> None:
    """Another vault's certificate over the second word on a holder, in both forms: whole, in its place, and somebody else's."""
    from holdfast.repository.objects import encode_control, parse_control
    from holdfast.repository.writers import enrol, revoke

    root = _opened(vault)
    credential = enrol(root, "ward", [PHI])
    revoke(root, credential.id)
    name = f"writer/{credential.id}/00000001"
    body = parse_control((vault / name).read_bytes(), name, "").body
    foreign = encode_control({**body, "vault": "0" * 32}, root.root.key)
    for form in (name, f"twin/{name}"):
        _change(vault / form, lambda _data: foreign)


def _lost_kit_slot(vault: Path) -> None:
    """The slot of a kit, gone in both forms: nobody misses it until the kit is needed."""
    from holdfast.repository.writers import make_recovery_kit

    before = {path.name for path in vault.glob("key/*")}
    make_recovery_kit(_opened(vault))
    for path in (*vault.glob("key/*"), *vault.glob("twin/key/*")):
        if path.name not in before:
            path.unlink()


def _of_a_forgotten_one(vault: Path) -> None:
    """A bad sector in the decision of a snapshot that was forgotten."""
    for path in sorted(vault.glob("forgotten/*"))[:1]:
        _every(f"decision/{path.name}/*", _flipped_middle)(vault)


def _stale_decision(vault: Path) -> None:
    """The decision of another session under this one's name."""
    latest = Golden(vault.parent).manifest().latest
    other = next(path for path in sorted(vault.glob("decision/*/*")) if path.parent.name != latest)
    _change(vault / "decision" / latest / "00000000", lambda _data: other.read_bytes())


def _rolled_back_keyring(vault: Path) -> None:
    """The older keyring under the newer one's name."""
    older, newer = sorted(vault.glob("keyring/*"))
    _change(newer, lambda _data: older.read_bytes())


# --- the look ---------------------------------------------------------------------------------------------------------------


def judge(golden: Golden, target: Path, snapshot: str) -> Seen:
    """Compare what was restored with the manifest."""
    manifest = golden.manifest().snapshots[snapshot]
    root = target / golden.manifest().root
    there = entries_of(os.fsencode(root)) if root.exists() else {}
    right = missing = wrong = 0
    for path, entry in manifest.items():
        found = there.get(path)
        if found is None:
            missing += 1
        elif (found[0], found[3], found[4]) == (entry[0], entry[3], entry[4]):
            right += 1
        else:
            wrong += 1
    return Seen(right, missing, wrong)


def _outcome(look: Callable[[], int]) -> int | str:
    try:
        return look()
    except HoldfastError as error:
        return error.code


def diagnose(golden: Golden, target: Path, snapshot: str) -> Diagnosis:
    """Check, verify and restore one snapshot into a new folder. Raises `AssertionError` if anything restored is wrong."""
    import holdfast

    packs = 0

    def check() -> int:
        with holdfast.Vault.open(golden.vault, key_file=golden.key) as vault:
            return vault.check().exit_code

    def verify() -> int:
        nonlocal packs
        with holdfast.Vault.open(golden.vault, key_file=golden.key) as vault:
            report = vault.verify(mark_damaged=False)
            packs = len(report.damaged)
            return report.exit_code

    def restore() -> int:
        with holdfast.Vault.open(golden.vault, key_file=golden.key) as vault:
            return vault.snapshot(snapshot).restore(target).exit_code

    checked, verified, restored = _outcome(check), _outcome(verify), _outcome(restore)
    seen = judge(golden, target, snapshot)
    assert not seen.wrong, f"{seen.wrong} entries were restored wrong under their own names"
    return Diagnosis(checked, verified, restored, seen.missing, packs)


def mend(golden: Golden, repair: Repair, snapshot: str) -> None:
    """Do what a case says mends it."""
    import holdfast

    with holdfast.Vault.open(golden.vault, key_file=golden.key) as vault:
        if repair == "index":
            vault.repair_index()
        elif repair == "all":
            vault.repair()
        elif repair == "forget":
            vault.release(snapshot, reason="a test") if snapshot in {one.id for one in vault.snapshots()} else None
            vault.forget(snapshots=[snapshot])


# --- the table --------------------------------------------------------------------------------------------------------------

_SOUND = Diagnosis(0, 0, 0, 0)

CASES: tuple[Case, ...] = (
    Case("sound", lambda _vault: None, _SOUND, (0, 0)),
    Case("pack-magic-flipped", _in_pack(DATA, PHI, lambda _pack: 3), Diagnosis(0, 4, 4, 43, 1), (4, 43)),
    Case("pack-vault-flipped", _in_pack(DATA, PHI, lambda _pack: 20), Diagnosis(0, 4, 4, 43, 1), (4, 43)),
    Case("pack-envelope-flipped", _in_pack(DATA, PHI, lambda _pack: 300), Diagnosis(0, 4, 4, 2, 1), (4, 2)),
    Case("pack-segment-flipped", _in_pack(DATA, PHI, _segment), Diagnosis(0, 4, 4, 2, 1), (4, 2)),
    Case("pack-directory-flipped", _in_pack(DATA, PHI, _directory), Diagnosis(0, 4, 0, 0, 1), (4, 0)),
    Case("pack-trailer-flipped", _in_pack(DATA, PHI, lambda pack: len(pack) - 1), Diagnosis(0, 4, 0, 0, 1), (4, 0)),
    Case("pack-truncated", _on_pack(_cut), Diagnosis(4, 4, 4, 43, 1), (4, 43)),
    Case("pack-emptied", _on_pack(_emptied), Diagnosis(4, 4, 4, 43, 1), (4, 43)),
    Case("pack-missing", _on_pack(Path.unlink), Diagnosis(4, 4, 4, 43, 1), (4, 43)),
    Case("pack-of-images-missing", _on_pack(Path.unlink, DATA, IMAGING, -1), Diagnosis(4, 4, 0, 0, 1), (0, 0)),
    Case("packs-exchanged", _exchange_packs, Diagnosis(4, 4, 4, 43, 2), (4, 43)),
    Case("metadata-flipped", _in_pack(METADATA, PHI, _segment, -1), Diagnosis(0, 4, 0, 0, 1), (0, 0)),
    Case("metadata-missing", _every("meta/*/*", Path.unlink), Diagnosis(4, 4, 4, 63, 13), (4, 63)),
    Case("map-flipped", _in_pack(MAP, DATABASE, _segment), Diagnosis(0, 4, 4, 1, 1), (4, 1)),
    Case("map-missing", _on_pack(Path.unlink, MAP, DATABASE), Diagnosis(4, 4, 4, 1, 1), (4, 1)),
    Case("index-run-flipped", _first("index/*", _flipped_middle), Diagnosis(4, 4, 4, 1), (4, 0), "index", _SOUND),
    Case("index-run-missing", _first("index/*", Path.unlink), Diagnosis(4, 4, 4, 1), (0, 0), "index", _SOUND),
    Case("index-missing", _every("index/*", Path.unlink), Diagnosis(4, 4, 4, 63), (0, 0), "index", _SOUND),
    Case("snapshot-flipped", _of_latest("snapshot/{}", _flipped_middle), Diagnosis(4, 4, 4, 0), (4, 0)),
    Case("snapshot-missing", _of_latest("snapshot/{}", Path.unlink), Diagnosis(4, 4, 4, 0), (4, 0)),
    Case(
        "part-flipped",
        _of_latest("part/{}/1", _flipped_middle),
        Diagnosis(4, 4, 4, 54),
        (4, 54),
        "forget",
        Diagnosis(0, 0, "snapshot-missing", 63),
    ),
    Case("references-flipped", _every("refs/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0)),
    Case("references-missing", _every("refs/*", Path.unlink), Diagnosis(4, 4, 0, 0), (0, 0)),
    Case("decision-flipped", _of_latest("decision/{}/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (4, 0)),
    Case("decision-missing", _kept_twice("decision/{}/*", Path.unlink), Diagnosis(4, 4, 0, 0), (4, 0), "all", _SOUND),
    Case(
        "decision-rotten", _kept_twice("decision/{}/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (4, 0), "all", _SOUND
    ),
    Case(
        "decision-copy-flipped",
        _kept_twice("committed/{}", _flipped_middle),
        Diagnosis(4, 4, 0, 0),
        (0, 0),
        "all",
        _SOUND,
    ),
    # As an older release left it, and the newest of its writer: only its admission speaks of it.
    Case(
        "decision-missing-without-copy",
        _of_latest("decision/{}/*", Path.unlink),
        Diagnosis(4, 4, 0, 0),
        (4, 0),
    ),
    Case("decision-stale", _stale_decision, Diagnosis(4, 4, 0, 0), (4, 0)),
    Case("session-missing", _every("session/*", Path.unlink), _SOUND, (0, 0)),
    Case("hold-flipped", _every("hold/*/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0)),
    Case("key-slot-flipped", _first("key/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (4, 0)),
    Case(
        "key-slots-missing",
        _every("key/*", Path.unlink),
        Diagnosis("key-slots-damaged", "key-slots-damaged", "key-slots-damaged", 63),
        (6, 63),
    ),
    Case("keyring-newest-flipped", _newest("keyring/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (4, 0)),
    Case("keyring-rolled-back", _rolled_back_keyring, Diagnosis(4, 4, 0, 0), (4, 0)),
    Case("keyring-missing", _every("keyring/*", Path.unlink), Diagnosis("damage", "damage", "damage", 63), (4, 63)),
    Case(
        "key-slots-flipped",
        _every("key/*", _flipped_middle),
        Diagnosis("key-slots-damaged", "key-slots-damaged", "key-slots-damaged", 63),
        (4, 63),
    ),
    Case(
        "keyrings-flipped", _every("keyring/*", _flipped_middle), Diagnosis("damage", "damage", "damage", 63), (4, 63)
    ),
    # The same with twins, as every vault of this release has them and an older one gets by a repair.
    *(
        Case(f"{name}-with-twins", _with_twins(*patterns, change=change), Diagnosis(4, 4, 0, 0), (4, 0), "all", _SOUND)
        for name, patterns, change in (
            ("header-flipped", ("vault",), _flipped_middle),
            ("header-missing", ("vault",), Path.unlink),
            ("key-slots-flipped", ("key/*",), _flipped_middle),
            ("key-slots-missing", ("key/*",), Path.unlink),
            ("keyrings-flipped", ("keyring/*",), _flipped_middle),
            ("keyrings-missing", ("keyring/*",), Path.unlink),
            ("writer-flipped", ("writer/*/*",), _flipped_middle),
            ("all-that-opens-flipped", ("vault", "key/*", "keyring/*", "writer/*/*"), _flipped_middle),
        )
    ),
    Case(
        "twins-flipped",
        _with_twins("twin/*", "twin/*/*", change=_flipped),
        Diagnosis(4, 4, 0, 0),
        (0, 0),
        "all",
        _SOUND,
    ),
    Case(
        "key-slots-and-twins-flipped",
        _with_twins("key/*", "twin/key/*", change=_flipped_middle),
        Diagnosis("key-slots-damaged", "key-slots-damaged", "key-slots-damaged", 63),
        (4, 63),
    ),
    Case("superseded-twin", _superseded_twin, Diagnosis(4, 4, 0, 0), (0, 0), "all", _SOUND),
    Case("foreign-bytes-in-both-forms", _foreign_in_both_forms, Diagnosis(4, 4, 0, 0), (4, 0)),
    Case("slot-of-a-kit-lost-in-both-forms", _lost_kit_slot, Diagnosis(4, 4, 0, 0), (0, 0), "all", _SOUND),
    Case("header-flipped", _first("vault", _flipped_middle), Diagnosis("damage", "damage", "damage", 63), (4, 0)),
    Case(
        "header-missing",
        _first("vault", Path.unlink),
        Diagnosis("vault-missing", "vault-missing", "vault-missing", 63),
        (4, 0),
    ),
    Case("writer-flipped", _every("writer/*/*", _flipped_middle), Diagnosis(4, 4, "damage", 63), (4, 0)),
    Case("state-missing", _every("state/*/*/*", Path.unlink), _SOUND, (0, 0)),
    Case("state-flipped", _every("state/*/*/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0)),
    Case("plan-flipped", _every("plan/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0)),
    Case("closed-missing", _every("closed/*", Path.unlink), _SOUND, (0, 0)),
    Case("checkpoint-flipped", _every("checkpoint/*/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0), "all", _SOUND),
    Case("session-flipped", _every("session/*", _flipped_middle), Diagnosis(4, 4, 0, 0), (0, 0), "all", _SOUND),
    Case("decision-of-a-forgotten-one-flipped", _of_a_forgotten_one, Diagnosis(4, 4, 0, 0), (0, 0), "all", _SOUND),
)
