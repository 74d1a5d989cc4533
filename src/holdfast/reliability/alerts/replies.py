"""Signed replies: answering an alert where there is no network. A small file, signed with a contact's own key (Ed25519).

The reply names the alert by its reference, which no other book's alert has; it carries a nonce, and is taken once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.base.environment import Environment
from holdfast.base.files import write_new
from holdfast.base.plain_json import read_json
from holdfast.errors import AlertMissingError, LocalStateError, ReplyRefusedError, UsageError
from holdfast.reliability.alerts.book import AlertBook
from holdfast.reliability.alerts.messages import REFERENCE, reference
from holdfast.reliability.alerts.records import AlertRecord
from holdfast.reliability.alerts.table import Policy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Reply", "check_reference", "files_in", "make_key", "sign_reply", "take_replies", "take_reply"]

_HEAD = "holdfast-reply-1"
_BYTES_MAX = 16384
_NOTE_MAX = 1000
_FILES_MAX = 1000
SUFFIX = ".reply"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a reply says."""

    reference: str
    action: str
    """`ack` or `resolve`."""
    by: str
    note: str
    nonce: str

    def signed_text(self) -> bytes:
        """Return the bytes that are signed."""
        fields = {
            "head": _HEAD,
            "reference": self.reference,
            "action": self.action,
            "by": self.by,
            "note": self.note,
            "nonce": self.nonce,
        }
        return json.dumps(fields, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()


def make_key(path: str) -> str:
    """Make a key for signing replies (mode 0600); return its public half in hex. `UsageError` if the file exists."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    try:
        write_new(path, (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),))
    except FileExistsError:
        raise UsageError(
            "the file of the key exists already", next="choose another name; keys are not replaced."
        ) from None
    except OSError as error:
        raise LocalStateError(f"the key cannot be written ({error.strerror})") from None
    return key.public_key().public_bytes_raw().hex()


def _read_key(path: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with open(path, "rb") as file:
            key = load_pem_private_key(file.read(_BYTES_MAX), password=None)
    except (OSError, ValueError, TypeError):
        raise UsageError(
            "the key for signing replies cannot be read", next="make one: `holdfast alerts key`."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError("the key is none for signing replies", next="make one: `holdfast alerts key`.")
    return key


def check_reference(alert: str) -> None:
    """Refuse what is no reference of any alert: whoever signed a reply to it would not learn that it cannot be taken. `UsageError`."""
    if not REFERENCE.fullmatch(alert):
        raise UsageError(
            "what is to be answered is no reference of an alert",
            next="give it as the message has it: a number, a dash and eight letters and digits, as 12-3f9a2c01.",
        )


def sign_reply(alert: str, action: str, by: str, note: str, *, key: str, env: Environment) -> bytes:
    """Return a signed reply to the alert of that reference. Needs neither a configuration nor a network."""
    reply = Reply(alert, action, by, note[:_NOTE_MAX], env.random_id())
    signature = _read_key(key).sign(reply.signed_text()).hex()
    return json.dumps(json.loads(reply.signed_text()) | {"signature": signature}, indent=1).encode() + b"\n"


def _parse(content: bytes) -> tuple[Reply, bytes]:
    try:
        found = read_json(content)
        if set(found) != {"head", "reference", "action", "by", "note", "nonce", "signature"} or found["head"] != _HEAD:
            raise ValueError  # noqa: TRY301 - what is no reply is refused in one place
        reply = Reply(*(str(found[name]) for name in ("reference", "action", "by", "note", "nonce")))
        if reply.action not in {"ack", "resolve"}:
            raise ValueError  # noqa: TRY301 - as above
        return reply, bytes.fromhex(found["signature"])
    except (ValueError, TypeError):
        raise ReplyRefusedError("the file is no reply to an alert") from None


def take_reply(content: bytes, book: AlertBook, policy: Policy) -> AlertRecord:
    """Prove a reply and do what it says; return the alert. `ReplyRefusedError`, `AlertMissingError`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if len(content) > _BYTES_MAX:
        raise ReplyRefusedError(f"a reply is at most {_BYTES_MAX} bytes")
    reply, signature = _parse(content)
    contact = policy.contacts.get(reply.by)
    if contact is None or not contact.public_key:
        raise ReplyRefusedError("the reply is by nobody whose key is configured")
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(contact.public_key)).verify(signature, reply.signed_text())
    except InvalidSignature:
        raise ReplyRefusedError("the signature of the reply is wrong") from None
    number = reply.reference.partition("-")[0]
    record = book.get(int(number)) if number.isdecimal() else None
    if record is None or reference(record) != reply.reference:
        raise AlertMissingError("the alert of the reply is none of this book")
    if not book.take_nonce(reply.nonce):
        raise ReplyRefusedError("the reply was taken before")
    if reply.action == "ack":
        return book.acknowledge(record.number, reply.by, reply.note)
    return book.resolve(record.number, reply.by, reply.note)


def files_in(folder: str) -> Iterator[str]:
    """Yield the reply files of a folder, in the order of their names; none if it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    yield from (os.path.join(folder, name) for name in names[:_FILES_MAX] if name.endswith(SUFFIX))


def take_replies(
    folder: str, book: AlertBook, policy: Policy, tell: Callable[[str], object] = lambda _: None
) -> tuple[int, int]:
    """Take every reply of a folder; return how many were taken and refused. A file that was looked at gets another ending.

    `tell` hears why each that is refused is: somebody believes that they have answered, or somebody tries to.
    """
    taken = refused = 0
    for path in files_in(folder):
        try:
            with open(path, "rb") as file:
                take_reply(file.read(_BYTES_MAX + 1), book, policy)
            ending, taken = ".taken", taken + 1
        except (ReplyRefusedError, AlertMissingError) as error:
            ending, refused = ".refused", refused + 1
            tell(error.what)
        except OSError:
            ending, refused = ".refused", refused + 1
            tell("a file of the folder of replies cannot be read")
        try:
            os.replace(path, path + ending)
        except OSError:
            continue  # the nonce keeps it from being taken twice
    return taken, refused
