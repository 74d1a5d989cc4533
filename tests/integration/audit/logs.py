"""Logs for tests: records that differ, and a log with several heads and files."""

from __future__ import annotations

from pathlib import Path

from holdfast.base.environment import Environment, system
from holdfast.reliability.audit import Actor, AuditLog, AuditRecord, SignedHead

ENV = system()
ACTOR = Actor(0, "root", "ward7", 1000, 4711, "root", "ab" * 16)


def record(number: int, env: Environment = ENV, **more) -> AuditRecord:
    shape = {"kind": "backup", "phase": "end", "outcome": "success", "facts": {"files": number}, **more}
    return AuditRecord(operation=f"{number:032x}", time=env.now(), actor=ACTOR, vault="cd" * 16, **shape)


def filled(
    folder: Path, count: int, *, batch: int = 7, head_every: int = 50, **how
) -> tuple[AuditLog, list[SignedHead]]:
    """Return a log of `count` records in small files, with heads on the way and one at the end."""
    log = AuditLog.open(folder, ENV, **how)
    log.segment_bytes = 20_000
    heads = []
    done = 0
    while done < count:
        step = min(batch, count - done)
        log.append([record(done + n) for n in range(step)])
        if done // head_every != (done + step) // head_every:
            heads.append(log.head())
        done += step
    heads.append(log.head())
    return log, heads
