"""The demonstration: a small hospital is backed up, changed, damaged in the vault, healed and brought back.

Everything happens in one folder, without root and without a server. Each step is checked: a demonstration that ends has
proved what it says, by comparing every restored byte and by reading the records with their formats' own libraries.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from holdfast.base import environment
from holdfast.base.environment import Environment
from holdfast.base.events import Events, Note, ignore
from holdfast.errors import InternalError, UsageError
from holdfast.runs import hospital as hospitals
from holdfast.runs.assembly import STATE_VARIABLE
from holdfast.runs.hospital import Hospital, HospitalCounts, HospitalSize
from holdfast.runs.options import BackupOptions, ClassRule, Stream
from holdfast.runs.results import BackupResult
from holdfast.runs.vault import Vault

T = TypeVar("T")

DATABASE_NAME = "ehr.sqlite"
LABEL = "hospital"
STEP = "demo-step"
"""The code of the notes that tell each step."""


@dataclass(frozen=True, slots=True)
class DemoStep:
    """One step that was done and checked."""

    title: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """A demonstration that succeeded."""

    folder: str
    report: str
    """File that says the same in Markdown."""
    steps: tuple[DemoStep, ...]
    counts: HospitalCounts
    """The restored records."""
    seconds: float


def run_demo(
    folder: Path | None = None,
    *,
    seed: int = 1,
    size: HospitalSize | None = None,
    events: Events = ignore,
    env: Environment | None = None,
) -> DemoReport:
    """Run the demonstration in `folder` (which must not hold anything), or in a new temporary one, which is left there.

    `UsageError` if the folder is not empty or the libraries of the `demo` extra are missing; `InternalError` if a step did
    not prove what it should.
    """
    _require_libraries()
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError("the demonstration needs an empty folder", next="name a folder that does not exist yet")
    with _state_in(folder / "state"):
        return _Demo(folder.absolute(), seed, size or HospitalSize(), events, env or environment.system()).run()


def _require_libraries() -> None:
    missing = [name for name in ("hl7", "pydicom") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the demonstration makes its records with {' and '.join(missing)}, not installed here",
            next="install holdfast[demo]",
        )


@contextlib.contextmanager
def _state_in(folder: Path) -> Iterator[None]:
    """Keep this host's state of the vault inside the demonstration's folder."""
    before = os.environ.get(STATE_VARIABLE)
    os.environ[STATE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[STATE_VARIABLE]
        else:
            os.environ[STATE_VARIABLE] = before


class _Demo:
    """One demonstration and what it has done so far."""

    def __init__(self, folder: Path, seed: int, size: HospitalSize, events: Events, env: Environment) -> None:
        self.folder = folder
        self.events = events
        self.env = env
        self.hospital = Hospital(folder / "hospital", seed, size)
        self.steps: list[DemoStep] = []

    def run(self) -> DemoReport:
        begin = self.env.monotonic()
        self._step("build a hospital", self._build)
        with self._create() as vault, hospitals.in_use(self.hospital):
            first = self._step("back it up while its database is in use", lambda: self._backup(vault))
            self._step("let a day pass and back it up again", lambda: self._next_day(vault))
            self._step("check the vault", lambda: self._check(vault))
            self._step("damage the vault: flip one bit of a pack", self._damage)
            self._step("verify finds the damage", lambda: self._verify(vault))
            self._step("the next backup stores the lost content again", lambda: self._heal(vault))
            self._step("restore and compare every byte", lambda: self._restore(vault))
            counts = self._step("read the records with their own libraries", self._count)
            self._step("the damaged older snapshot tells what it lost", lambda: self._restore_damaged(vault, first))
        seconds = self.env.monotonic() - begin
        path = self.folder / "report.md"
        report = DemoReport(str(self.folder), str(path), tuple(self.steps), counts, seconds)
        path.write_text(render(report), encoding="utf-8")
        return report

    def _step(self, title: str, do: Callable[[], tuple[str, T]]) -> T:
        begin = self.env.monotonic()
        outcome, value = do()
        self.steps.append(DemoStep(title, outcome, self.env.monotonic() - begin))
        self.events(Note(f"{title}: {outcome}", code=STEP))
        return value

    def _build(self) -> tuple[str, None]:
        hospitals.build(self.hospital.root, self.hospital.seed, self.hospital.size)
        files = [path for path in self.hospital.root.rglob("*") if path.is_file()]
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        return f"{len(files)} files, {megabytes:.1f} MB of HL7, FHIR, DICOM and a database", None

    def _create(self) -> Vault:
        return Vault.create(self.folder / "vault", key_file=self.folder / "vault.key", label="demo", env=self.env)

    @property
    def _streamed(self) -> Path:
        """Where the copy of the database appears in a snapshot."""
        return self.hospital.root / "ehr" / DATABASE_NAME

    def _options(self) -> BackupOptions:
        return BackupOptions(
            exclude=(f"{self.hospital.database.parent}/",),
            class_rules=(ClassRule(f"{self.hospital.images}/", "imaging"),),
            streams=(Stream(str(self._streamed), hospitals.dump_command(self.hospital), "database"),),
        )

    def _backup(self, vault: Vault) -> tuple[str, BackupResult]:
        result = vault.backup([self.hospital.root], label=LABEL, options=self._options(), events=self.events)
        _require(not result.partial and result.snapshot is not None, "a backup is not complete")
        stats = result.stats
        outcome = (
            f"{stats.files} files, {stats.bytes / 1e6:.1f} MB; new {stats.new_bytes / 1e6:.1f} MB, "
            f"stored {stats.stored_bytes / 1e6:.1f} MB"
        )
        return outcome, result

    def _next_day(self, vault: Vault) -> tuple[str, BackupResult]:
        hospitals.pass_a_day(self.hospital, 0)
        return self._backup(vault)

    def _check(self, vault: Vault) -> tuple[str, None]:
        report = vault.check(events=self.events)
        _require(report.sound, "the vault is not sound before it was damaged")
        return f"{report.objects} objects in order, {report.packs} packs", None

    def _damage(self) -> tuple[str, None]:
        packs = [path for path in (self.folder / "vault" / "data").rglob("*") if path.is_file()]
        pack = max(packs, key=lambda path: (path.stat().st_size, path.name))
        middle = pack.stat().st_size // 2
        pack.chmod(0o600)
        with pack.open("r+b") as file:
            file.seek(middle)
            (byte,) = file.read(1)
            file.seek(middle)
            file.write(bytes([byte ^ 0x10]))
        return f"byte {middle} of {pack.name[:12]}… is wrong now", None

    def _verify(self, vault: Vault) -> tuple[str, None]:
        report = vault.verify(events=self.events)
        _require(len(report.damaged) == 1, "verify did not find exactly the one damaged pack")
        _require(bool(report.damaged_list), "verify did not list the damage for the next backup")
        return f"{report.packs} packs read, pack {report.damaged[0].pack[:12]}… is damaged", None

    def _heal(self, vault: Vault) -> tuple[str, BackupResult]:
        outcome, result = self._backup(vault)
        _require(result.stats.new_bytes > 0, "the damaged content was not stored again")
        return outcome, result

    def _restore(self, vault: Vault) -> tuple[str, None]:
        target = self.folder / "restored"
        result = vault.snapshot("latest").restore(target, events=self.events)
        _require(not result.partial and not result.damaged, "the restore is not complete")
        files = _compare(self.hospital.root, _below(target, self.hospital.root), leave_out={"ehr-live", "ehr"})
        copy = _below(target, self._streamed).read_bytes()
        _require(
            hashlib.sha256(copy).hexdigest() == self.hospital.database_digest.read_text(),
            "the restored database is not the copy that was made",
        )
        return f"{files + 1} files are the same, byte for byte, with their modes and times", None

    def _count(self) -> tuple[str, HospitalCounts]:
        target = self.folder / "restored"
        counts = hospitals.count(_below(target, self.hospital.root), _below(target, self._streamed))
        return (
            f"{counts.messages} HL7 messages, {counts.resources} FHIR resources, {counts.images} DICOM images, "
            f"{counts.rows} database rows of one moment"
        ), counts

    def _restore_damaged(self, vault: Vault, first: BackupResult) -> tuple[str, None]:
        target = self.folder / "restored-first"
        wanted = first.snapshot.id if first.snapshot else ""
        result = vault.snapshot(wanted).restore(target, events=self.events)
        _require(result.damaged and len(result.findings) > 0, "the damage is not told by a restore")
        return f"{result.files} files restored and verified, {len(result.findings)} named as lost", None


def _require(proved: bool, otherwise: str) -> None:  # noqa: FBT001 (reads as a sentence)
    if not proved:
        raise InternalError(f"the demonstration failed: {otherwise}")


def _below(target: Path, path: Path) -> Path:
    """Return where a restore to `target` puts an absolute path."""
    return target / path.relative_to("/")


def _compare(source: Path, restored: Path, leave_out: set[str]) -> int:
    """Compare two folders, but for some names at the top; return how many files are the same."""
    there = _listing(source, leave_out)
    _require(there.keys() == _listing(restored, leave_out).keys(), "the restored files are not those backed up")
    for name, path in there.items():
        back = restored / name
        _require(path.stat().st_mode == back.stat().st_mode, "a restored mode differs")
        _require(path.stat().st_mtime_ns == back.stat().st_mtime_ns, "a restored time differs")
        if path.is_file():
            _require(path.read_bytes() == back.read_bytes(), "a restored file differs")
    return sum(path.is_file() for path in there.values())


def _listing(root: Path, leave_out: set[str]) -> dict[Path, Path]:
    found = {path.relative_to(root): path for path in root.rglob("*")}
    return {name: path for name, path in found.items() if name.parts[0] not in leave_out}


def render(report: DemoReport) -> str:
    """Write the report as Markdown."""
    lines = [
        "# Holdfast demonstration",
        "",
        f"Everything below was done and checked in {report.seconds:.1f} s.",
        "",
        "| step | outcome | seconds |",
        "|---|---|---|",
        *(f"| {step.title} | {step.outcome} | {step.seconds:.2f} |" for step in report.steps),
        "",
        "`hospital/` is the source, `vault/` the vault, `vault.key` its key, `restored/` what came back.",
    ]
    return "\n".join(lines) + "\n"
