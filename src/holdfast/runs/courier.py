"""The near side of an air gap: sets are planned, written medium by medium, and confirmed by receipts.

What was exported is this host's own record. Lost, the next set holds everything again, and the far side passes over what
it has. A set is planned before its first object is written: an export that was stopped anywhere goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.environment import format_time, parse_time
from holdfast.base.events import Events, Note, Progress, ignore
from holdfast.errors import DamageError, MediumError, ObjectMissingError, ReceiptError, UsageError
from holdfast.repository.names import untwinned
from holdfast.repository.objects import sha256
from holdfast.repository.opening import header_bytes
from holdfast.repository.transfer import (
    Manifest,
    Receipt,
    SetObject,
    digest_of,
    encode_list,
    in_order,
    manifest_name,
    open_receipt,
    seal_manifest,
)
from holdfast.repository.wraps import note_medium
from holdfast.runs.governed import governed
from holdfast.runs.medium import COURIER, HEADER, OBJECTS, Full, Medium, find_material
from holdfast.runs.operations import audited
from holdfast.runs.tier_results import CourierSet, CourierStatus, ExportResult, ReceiptResult
from holdfast.stores.layers import spend

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.governed import GovernedRun
    from holdfast.runs.options import Cancel

__all__ = ["Courier", "ExportRequest"]

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
RECEIPT_BYTES_MAX = 16 << 20
CHALLENGE_BYTES = 32


_UNTOUCHED = "the vault is as it was; the medium is gone on with by the same command."


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Where to, how much of it, and what goes along. `again`: the number of a set that was lost on its way."""

    to: Path
    size_bytes_max: int | None = None
    again: int | None = None
    material: str | None = None
    wheels: Path | None = None


@dataclass(slots=True)
class _MediumRecord:
    """One medium of a set, as the record keeps it. `manifest` empty: it is being written."""

    number: int
    id: str
    manifest: str = ""
    challenge: str = ""
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _SetRecord:
    """One set, as the record keeps it."""

    number: int
    made: str
    complete: bool = False
    received: str = ""
    media: list[_MediumRecord] = field(default_factory=list)


class Courier:
    """One far side that a vault is carried to. Several may be served, each by its name."""

    def __init__(self, vault: OpenVault, name: str = "default") -> None:
        """Use `Vault.courier`."""
        if not NAME.fullmatch(name):
            raise UsageError("a courier's name has lower-case letters, digits and hyphens")
        self._vault = vault
        self.name = name
        self._folder = vault.folder("courier") / name
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._sets = self._load()

    # --- the record -----------------------------------------------------------------------------------------------------

    def _load(self) -> list[_SetRecord]:
        path = self._folder / "sets.json"
        if not path.exists():
            return []
        rows = json.loads(path.read_text(encoding="ascii"))
        return [_SetRecord(**{**row, "media": [_MediumRecord(**medium) for medium in row["media"]]}) for row in rows]

    def _save(self) -> None:
        self._write("sets.json", json.dumps([asdict(row) for row in self._sets]).encode())

    def _write(self, name: str, data: bytes) -> None:
        new = self._folder / f"{name}.new"
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._folder / name)

    def _plan_of(self, number: int) -> list[SetObject]:
        """Return a set's objects; those that were not written yet have no hash."""
        lines = (self._folder / f"set-{number:08d}").read_text(encoding="ascii").splitlines()
        rows = [line.split(" ") for line in lines]
        return [SetObject(name, int(size), "" if sha == "-" else sha) for sha, size, name in rows]

    def _keep_plan(self, number: int, objects: Iterable[SetObject]) -> None:
        text = "".join(f"{one.sha or '-'} {one.size} {one.name}\n" for one in objects)
        self._write(f"set-{number:08d}", text.encode("ascii"))

    def _exported(self) -> frozenset[str]:
        return frozenset(one.name for row in self._sets for one in self._plan_of(row.number))

    def _waiting(self) -> list[tuple[str, int]]:
        """Return what is in the vault and in no set. What decides is listed before the packs, so that none of it is missing."""
        store = self._vault.store
        control = [info for info in store.list("") if not info.name.startswith(("data/", "meta/"))]
        packs = [info for prefix in ("data/", "meta/") for info in store.list(prefix)]
        known = self._exported()
        return [(info.name, info.size) for info in in_order([*control, *packs]) if info.name not in known]

    # --- export ---------------------------------------------------------------------------------------------------------

    @audited("courier")
    def export(
        self,
        to: str | os.PathLike[str],
        *,
        size_bytes_max: int | None = None,
        again: int | None = None,
        material: str | None = None,
        wheels: str | os.PathLike[str] | None = None,
        events: Events = ignore,
        stop: Cancel | None = None,
    ) -> ExportResult:
        """Write the next medium of the open set, or of a new set with everything that no set holds yet.

        When it returns, the medium is complete, flushed and signed; `left` says whether the set needs another. Stopped
        or killed, it goes on where it was with the same medium. `again` writes a set anew that was lost on its way.
        `MediumError` if the medium is full, swapped, or another vault's; `NotPermittedError` without the root key.
        """
        request = ExportRequest(Path(to), size_bytes_max, again, material, Path(wheels) if wheels else None)
        began = self._vault.env.monotonic()
        self._vault.repository.root  # noqa: B018 - refused early without the root key
        found = find_material(request.material)
        medium = Medium(request.to)
        marker = medium.marker()
        if marker is not None and marker["vault"] != self._vault.vault_id:
            raise MediumError(
                "the medium belongs to another vault", next="insert a medium of this vault, or an empty one."
            )
        row = self._open_set(request.again)
        if row is None:
            last = self._sets[-1].number if self._sets else 0
            return ExportResult(self.name, last, 0, 0, 0, 0, 0, self._vault.env.monotonic() - began)
        record = self._open_medium(row, medium, marker)
        try:
            medium.carry(found, request.wheels)
            medium.write(f"{COURIER}/{HEADER}", header_bytes(self._vault.store))
        except Full:
            raise MediumError("the medium is too small for anything", next="insert a larger one.") from None
        objects = self._plan_of(row.number)
        start = sum(each.objects for each in row.media if each.manifest)
        with governed(self._vault, None, kind="courier", events=events, stop=stop, safe=_UNTOUCHED) as steered:
            written, gone = _Writer(self._vault, medium, request.size_bytes_max, steered).write(objects[start:])
        objects = [*objects[:start], *written, *objects[start + len(written) + len(gone) :]]
        self._keep_plan(row.number, objects)
        if not written and len(objects) > start:
            raise MediumError("the medium has no room for the next object", next="insert a larger or an empty one.")
        self._seal(row, record, written, medium, last=len(objects) == start + len(written))
        left = objects[start + len(written) :]
        return ExportResult(
            courier=self.name,
            set=row.number,
            medium=record.number,
            objects=len(written),
            bytes=sum(one.size for one in written),
            left=len(left),
            left_bytes=sum(one.size for one in left),
            seconds=self._vault.env.monotonic() - began,
        )

    def _open_set(self, again: int | None) -> _SetRecord | None:
        """Return the set to write: the one given, the one that is open, or a new one; None if nothing is waiting."""
        if again is not None:
            row = next((each for each in self._sets if each.number == again), None)
            if row is None:
                raise UsageError(f"there is no set {again} of courier {self.name}")
            if row.complete:
                row.complete, row.received, row.media = False, "", []
                self._save()
            return row
        row = next((each for each in self._sets if not each.complete), None)
        if row is not None:
            return row
        waiting = self._waiting()
        if not waiting:
            return None
        if any(untwinned(name).startswith("keyring/") for name, _ in waiting):
            self._enter_into_ledger(len(self._sets) + 1)
            waiting = self._waiting()
        row = _SetRecord(len(self._sets) + 1, self._vault.env.timestamp())
        self._keep_plan(row.number, [SetObject(name, size, "") for name, size in waiting])
        self._sets.append(row)
        self._save()
        return row

    def _enter_into_ledger(self, number: int) -> None:
        """Write down, before it leaves, that the media of a set hold a copy of the keyring."""
        repository = self._vault.repository
        name = f"courier {self.name}, set {number}"
        entry = sha256(f"{repository.home.vault} {name}".encode())[:32]
        epoch = repository.require_keyring().epoch
        note_medium(repository.home, repository.root, entry, name, self._vault.env.now(), epoch)

    def _open_medium(self, row: _SetRecord, medium: Medium, marker: dict[str, str] | None) -> _MediumRecord:
        """Return the record of the medium to write: the one that was begun, or the next. `MediumError` if it was swapped."""
        begun = next((each for each in row.media if not each.manifest), None)
        there = marker["medium"] if marker is not None else ""
        if begun is not None:
            if there != begun.id:
                raise MediumError(
                    f"medium {begun.number} of set {row.number} was begun on another disk",
                    next=f"insert that disk; if it is lost, `holdfast courier export --again {row.number}` begins the set"
                    " anew.",
                )
            return begun
        if any(each.id == there for each in row.media):
            raise MediumError(
                f"this disk holds a complete medium of set {row.number} already", next="insert the next, empty one."
            )
        record = _MediumRecord(len(row.media) + 1, there or self._vault.env.random_id())
        if marker is None:
            medium.mark(
                self._vault.vault_id, record.id
            )  # before the record: an export that dies in between finds its disk again
        row.media.append(record)
        self._save()
        return record

    def _seal(
        self, row: _SetRecord, record: _MediumRecord, written: list[SetObject], medium: Medium, *, last: bool
    ) -> None:
        """Write the list, then the manifest that makes the medium complete, then the record."""
        before = row.media[record.number - 2].manifest if record.number > 1 else ""
        listed = encode_list(written)
        manifest = Manifest(
            courier=self.name,
            set=row.number,
            medium=record.number,
            medium_id=record.id,
            last=last,
            previous=before,
            list_sha=sha256(listed),
            objects=len(written),
            bytes_=sum(one.size for one in written),
            challenge=self._vault.env.random_bytes(CHALLENGE_BYTES),
        )
        repository = self._vault.repository
        data = seal_manifest(manifest, self._vault.vault_id, repository.root, self._vault.env)
        place = manifest_name(self.name, row.number, record.number)
        try:
            medium.write(f"{place}/objects", listed)
            medium.write(f"{place}/manifest", data)
        except Full:
            raise MediumError(
                "the medium has no room left for its own list", next="make room on it and run again."
            ) from None
        record.manifest, record.challenge = sha256(data), manifest.challenge.hex()
        record.objects, record.bytes = manifest.objects, manifest.bytes_
        row.complete = last
        self._save()

    # --- receipts and status --------------------------------------------------------------------------------------------

    @audited("courier")
    def receipt(self, file: str | os.PathLike[str]) -> ReceiptResult:
        """Take a receipt of the far side. `ReceiptError` if it is of another vault or set, or was altered."""
        try:
            data = Path(file).read_bytes()[:RECEIPT_BYTES_MAX]
        except OSError as error:
            raise ReceiptError(f"the receipt cannot be read ({os.strerror(error.errno or 0)})") from error
        for row in self._sets:
            try:
                vault, found = open_receipt(data, self.name, row.number)
            except DamageError:
                continue
            if vault != self._vault.vault_id:
                raise ReceiptError("the receipt is of another vault")
            self._confirm(row, found)
            return ReceiptResult(
                self.name, row.number, sum(part.objects for part in found.media), sum(p.bytes_ for p in found.media)
            )
        raise ReceiptError("the receipt confirms no set that was exported from here, or was altered")

    def _confirm(self, row: _SetRecord, receipt: Receipt) -> None:
        objects = self._plan_of(row.number)
        at = 0
        expected = []
        for medium in row.media:
            shas = [one.sha for one in objects[at : at + medium.objects]]
            at += medium.objects
            expected.append((medium.number, medium.manifest, digest_of(bytes.fromhex(medium.challenge), shas)))
        if not row.complete or [(part.medium, part.manifest, part.digest) for part in receipt.media] != expected:
            raise ReceiptError(f"the receipt does not confirm set {row.number} as it was exported from here")
        row.received = format_time(receipt.received)
        self._save()

    def status(self) -> CourierStatus:
        """Return what was exported and confirmed, and how much of the vault no complete set holds."""
        sets = tuple(
            CourierSet(
                courier=self.name,
                set=row.number,
                made=parse_time(row.made),
                media=len(row.media),
                objects=sum(medium.objects for medium in row.media),
                bytes=sum(medium.bytes for medium in row.media),
                complete=row.complete,
                received=_moment(row.received),
            )
            for row in self._sets
        )
        open_ = [row for row in self._sets if not row.complete]
        waiting = [size for _, size in self._waiting()]
        waiting += [one.size for row in open_ for one in self._plan_of(row.number) if not one.sha]
        return CourierStatus(sets, len(waiting), sum(waiting), sum(row.received is None for row in sets))


def _moment(text: str) -> datetime | None:
    return parse_time(text) if text else None


class _Writer:
    """Writes objects onto a medium until it is full."""

    def __init__(self, vault: OpenVault, medium: Medium, size_bytes_max: int | None, steered: GovernedRun) -> None:
        self._vault = vault
        self._medium = medium
        self._left = size_bytes_max
        self._events = steered.events
        self._steered = steered

    def write(self, objects: list[SetObject]) -> tuple[list[SetObject], list[SetObject]]:
        """Return the objects that lie on the medium now, and those that are gone from the vault or damaged in it.

        An object that is there already is read and compared: a medium that was begun is gone on with.
        """
        written: list[SetObject] = []
        gone: list[SetObject] = []
        began, done = self._vault.env.monotonic(), 0
        for one in objects:
            if self._steered.is_over():
                raise self._steered.why()
            data = self._read(one)
            if data is None:
                gone.append(one)
                continue
            try:
                self._put(one.name, data)
            except Full:
                break
            written.append(replace(one, size=len(data), sha=sha256(data)))
            done += len(data)
            self._events(
                Progress("write", self._vault.env.monotonic() - began, len(written), done, files_total=len(objects))
            )
        return written, gone

    def _read(self, one: SetObject) -> bytes | None:
        try:
            data = self._vault.store.get(one.name)
        except ObjectMissingError:
            return None  # forgotten or pruned since the set was planned
        if one.name.startswith(("data/", "meta/")) and sha256(data) != one.name.rpartition("/")[2]:
            self._events(
                Note("a damaged pack was left out of the set; `holdfast verify` names what rests on it", "damage")
            )
            return None
        return data

    def _put(self, name: str, data: bytes) -> None:
        place = f"{OBJECTS}/{name}"
        there = self._medium.read(place)
        if self._left is not None and len(data) > self._left:
            raise Full
        if there != data:
            if len(data) > self._medium.room():
                raise Full
            spend(self._vault.limits.try_write, len(data), self._vault.env)
            self._medium.write(place, data)
        if self._left is not None:
            self._left -= len(data)
