"""Names of objects (docs/format/objects.md) and nothing else."""

from __future__ import annotations

import re

VAULT = "vault"
ID = re.compile(r"[0-9a-f]{32}")
SHA = re.compile(r"[0-9a-f]{64}")
NUMBER_DIGITS = 8
DATA_KIND = 1
META_KINDS = (2, 3)

_ID, _SHA, _N = "[0-9a-f]{32}", "[0-9a-f]{64}", f"[0-9]{{{NUMBER_DIGITS}}}"
TWIN = "twin"
_TWINNED = {
    "vault": "vault",
    "key": f"key/{_ID}",
    "keyring": f"keyring/{_N}",
    "writer": f"writer/{_ID}/{_N}",
    "grant": f"grant/{_ID}/{_N}",
    "joined": f"joined/{_ID}",
}
"""What a vault is opened by, and whose signatures are known by, is kept twice: by kind, how its names look."""
TWINNED = tuple(_TWINNED)
"""The kinds of it."""
_GRAMMAR = re.compile(
    "|".join(
        (
            f"(?:{TWIN}/)?(?:{'|'.join(_TWINNED.values())})",
            f"(?:session|snapshot|committed|admission|forgotten|approval)/{_ID}",
            f"(?:checkpoint|ack|decision|hold|audit|compared|wrap)/{_ID}/{_N}",
            f"(?:part|dropped)/{_ID}/[0-9]{{1,5}}",
            f"(?:refs|index|countersign)/{_SHA}",
            f"state/{_ID}/{_ID}/{_N}",
            f"(?:condemn|plan|closed|damaged|access|shred|rehearsal|floor|epoch)/{_N}",
            f"(?:data|meta|parity)/[0-9a-f]{{2}}/{_SHA}",
        )
    )
)


def number(value: int) -> str:
    """Return a decimal number as names write it."""
    if not 0 <= value < 10**NUMBER_DIGITS:
        raise ValueError(value)
    return f"{value:0{NUMBER_DIGITS}d}"


def numbered(kind: str, *parts: str | int) -> str:
    """Return a name from its components; integers become numbers of eight digits."""
    return "/".join((kind, *(number(part) if isinstance(part, int) else part for part in parts)))


def pack(sha: str, kind: int) -> str:
    """Return a pack's name by its hash and kind."""
    return f"{'data' if kind == DATA_KIND else 'meta'}/{sha[:2]}/{sha}"


def part(snapshot: str, class_id: int) -> str:
    """Return the name of a snapshot's sealed part of a class."""
    return f"part/{snapshot}/{class_id}"


def last_number(name: str) -> int:
    """Return the number that a name ends in. `ValueError` if it does not."""
    if not is_numbered(name):
        raise ValueError(name)
    return int(name.rpartition("/")[2])


def middle(name: str) -> str:
    """Return the second component of a name: the id in `ack/ID/N`."""
    return name.split("/")[1]


def is_known(name: str) -> bool:
    """Return whether a name is one of the format's."""
    return _GRAMMAR.fullmatch(name) is not None


def is_twinned(name: str) -> bool:
    """Return whether an object of this name is kept twice."""
    return name.partition("/")[0] in TWINNED


def twin(name: str) -> str:
    """Return the name under which the bytes of an object are kept a second time."""
    return f"{TWIN}/{name}"


def untwinned(name: str) -> str:
    """Return the name of the object that a twin is one of; any other name as it is."""
    return name.removeprefix(f"{TWIN}/")


def is_numbered(name: str) -> bool:
    """Return whether a name ends in a number: the highest of its row counts."""
    tail = name.rpartition("/")[2]
    return len(tail) == NUMBER_DIGITS and tail.isdecimal()
