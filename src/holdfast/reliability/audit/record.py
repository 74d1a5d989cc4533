"""What an event of the audit log says: who did what, when, with which outcome. Never a path, never content.

A record is canonical JSON. Its texts are held to an alphabet without `/`, so that no path can get in by mistake; what people
write (reasons, labels) enters as a digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from holdfast.base.environment import format_time, parse_time
from holdfast.base.plain_json import read_json
from holdfast.errors import AuditDamagedError, InternalError

__all__ = ["RECORD_BYTES_MAX", "Actor", "AuditRecord", "Fact", "canonical", "digest_of", "this_actor"]

RECORD_BYTES_MAX = 8192
FACTS_MAX = 64
TEXT_CHARACTERS_MAX = 200
Fact = int | float | bool | str
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_TEXT = re.compile(rf"[A-Za-z0-9 ._:@+=,()<>%#\\-]{{0,{TEXT_CHARACTERS_MAX}}}")
_FOREIGN = re.compile(r"[^A-Za-z0-9 ._:@+=,()<>%#\\-]")
NO_LOGIN = 0xFFFFFFFF


def canonical(value: object) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(text: str | bytes) -> str:
    """Return what stands in a record for a text that people wrote: 16 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogateescape") if isinstance(text, str) else text).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked: the user of the process, the user that logged in (if the system says), the host, and the credential."""

    uid: int
    user: str
    host: str
    login_uid: int = -1
    """The audit uid of the session (`/proc/self/loginuid`): who logged in before `sudo`; -1 where the system knows none."""
    pid: int = 0
    role: str = ""
    """`root`, `writer`, … : what the credential may do; empty while none was accepted."""
    credential: str = ""
    """The opaque id of the writer that the credential belongs to."""


def this_actor(host: str, role: str = "", credential: str = "") -> Actor:
    """Return who this process works for."""
    import pwd

    uid = os.getuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = ""
    try:
        login = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        login = -1
    login = -1 if login == NO_LOGIN else login
    return Actor(uid, _clean(user), _clean(host), login, os.getpid(), role, credential)


def _clean(text: str) -> str:
    return _FOREIGN.sub("_", text)[:TEXT_CHARACTERS_MAX]


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event. `begin` and `end` of an operation share its id; an `event` stands alone."""

    kind: str
    """`backup`, `restore`, `forget`, … : see `mapping.KINDS`."""
    phase: str
    """`begin`, `end` or `event`."""
    operation: str
    """32 hex digits."""
    time: datetime
    """By the host's clock; the order of records is their number, never their time."""
    actor: Actor
    vault: str
    """The vault's id."""
    outcome: str = ""
    """Of an end or an event: `success`, `partial`, `failure`, `denied`, `interrupted`, `stopped`."""
    subject: str = ""
    """What it was about, opaque: a snapshot's or writer's id, a count."""
    code: str = ""
    """The error's code, if there was one."""
    policy: str = ""
    """The digest of the configuration in force; empty without one."""
    facts: Mapping[str, Fact] = field(default_factory=dict)
    """Counts, flags and opaque values."""

    def encode(self) -> bytes:
        """Return the record as stored. `InternalError` if a text could hold a path or the record is too long."""
        texts = (self.subject, self.code, self.outcome, *(v for v in self.facts.values() if isinstance(v, str)))
        names = (self.kind, self.phase, *self.facts)
        if len(self.facts) > FACTS_MAX or not all(map(_TEXT.fullmatch, texts)) or not all(map(_NAME.fullmatch, names)):
            raise InternalError("an audit record with a text outside its alphabet")
        who = {
            "uid": self.actor.uid,
            "user": self.actor.user,
            "login_uid": self.actor.login_uid,
            "host": self.actor.host,
            "pid": self.actor.pid,
            "role": self.actor.role,
            "credential": self.actor.credential,
        }
        data = canonical(
            {
                "kind": self.kind,
                "phase": self.phase,
                "operation": self.operation,
                "time": format_time(self.time),
                "clock": "host",
                "who": who,
                "vault": self.vault,
                "outcome": self.outcome,
                "subject": self.subject,
                "code": self.code,
                "policy": self.policy,
                "facts": dict(self.facts),
            }
        )
        if len(data) > RECORD_BYTES_MAX:
            raise InternalError("an audit record longer than its limit")
        return data

    @classmethod
    def decode(cls, data: bytes) -> AuditRecord:
        """Read a record. `AuditDamagedError` if it is none."""
        try:
            body = read_json(data)
            who = body["who"]
            return cls(
                kind=str(body["kind"]),
                phase=str(body["phase"]),
                operation=str(body["operation"]),
                time=parse_time(body["time"]),
                actor=Actor(
                    int(who["uid"]),
                    str(who["user"]),
                    str(who["host"]),
                    int(who["login_uid"]),
                    int(who["pid"]),
                    str(who["role"]),
                    str(who["credential"]),
                ),
                vault=str(body["vault"]),
                outcome=str(body["outcome"]),
                subject=str(body["subject"]),
                code=str(body["code"]),
                policy=str(body["policy"]),
                facts=dict(body["facts"]),
            )
        except (ValueError, KeyError, TypeError):
            raise AuditDamagedError("a record of the audit log cannot be read") from None
