"""Approvals as operations meet them: a folder where requests are written and people's statements are found.

An operation that needs approvals and has none writes a request and stops. Approvers sign it (`holdfast approval sign`, on any
machine, no network needed), their statements come back into the folder, and the same command, run again, goes through.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.base.plain_json import read_json
from holdfast.errors import ApprovalMissingError, DamageError, UsageError
from holdfast.repository.objects import canonical

if TYPE_CHECKING:
    from holdfast.repository.access import Request, Statement
    from holdfast.runs.assembly import OpenVault

__all__ = ["authorise", "break_glass_alert", "find_statements", "folder_of", "read_request"]

FOLDER = "approvals"
REVOKE = "revoke"
FILES_MAX = 10_000


def folder_of(vault: OpenVault) -> Path:
    """Return the folder of requests and statements on this host."""
    return vault.folder(FOLDER)


def authorise(vault: OpenVault, operation: str, what: Mapping[str, object]) -> tuple[str, ...]:
    """Let an operation begin, or raise `ApprovalMissingError` with a request written. Return who agreed (none needed: nobody).

    What was agreed to is used up: the vault keeps it. `DamageError` if the access policy cannot be read, but to take a key
    away: that needs nobody then, and alerts.
    """
    # Imported when asked: every command would pay for it.
    from holdfast.repository.access import agreed, needs_approval, read_policy, use_request

    try:
        policy = read_policy(vault.repository.home)
    except DamageError as error:
        if operation != REVOKE:
            raise
        # Whoever can add one object could keep everybody from taking his key away, if that waited for what cannot be read.
        vault.trail.hear(Alert.of(error, "access"))
        return ()
    if not needs_approval(policy, operation):
        return ()
    request, statements = find_statements(vault, operation, what)
    try:
        names = agreed(policy, statements, request, vault.env.now())
    except ApprovalMissingError as error:
        path = _write_request(vault, request)
        error.next = (
            f"have {os.path.basename(path)} signed (`holdfast approval sign`), then run the same command again."
        )
        raise
    use_request(vault.repository, request, statements)
    return names


def find_statements(vault: OpenVault, operation: str, what: Mapping[str, object]) -> tuple[Request, list[Statement]]:
    """Return the open request for exactly this with its statements; a new request if there is none."""
    from holdfast.repository.access import Statement, new_request

    requests: dict[str, Request] = {}
    statements: dict[str, list[Statement]] = {}
    for path in sorted(folder_of(vault).glob("*.json"))[:FILES_MAX]:
        with suppress(OSError, UsageError):
            data = path.read_bytes()
            if path.name.startswith("request-"):
                request = read_request(data)
            else:
                statement = Statement.decode(data)
                request = statement.request
                statements.setdefault(request.nonce, []).append(statement)
            fits = request.asks_for(vault.vault_id, operation, what) and request.expires > vault.env.now()
            if fits and vault.store.size(f"approval/{request.nonce}") is None:
                requests[request.nonce] = request
    chosen = max(requests.values(), key=lambda each: (len(statements.get(each.nonce, ())), each.nonce), default=None)
    chosen = chosen or new_request(vault.repository, operation, what)
    return chosen, statements.get(chosen.nonce, [])


def read_request(data: bytes) -> Request:
    """Read a request's file. `UsageError` if it is none."""
    from holdfast.repository.access import Request

    try:
        return Request.decode(read_json(data))
    except (ValueError, KeyError, TypeError):
        raise UsageError("this is no request for an approval") from None


def _write_request(vault: OpenVault, request: Request) -> str:
    path = folder_of(vault) / f"request-{request.nonce[:12]}.json"
    if not path.exists():
        new = path.with_suffix(".new")
        new.write_bytes(canonical(request.encode()) + b"\n")
        os.replace(new, path)
    return str(path)


def break_glass_alert(snapshot: str) -> Alert:
    """Return the alert that every restore without the approvals it needs gives."""
    return Alert(
        code="break-glass",
        subject=snapshot,
        text="a snapshot is restored as an emergency, without the approvals that its classes ask for",
        safe="the vault is only read; the audit log has who did it.",
        next="ask the person who did it, and file the answer with the record.",
    )
