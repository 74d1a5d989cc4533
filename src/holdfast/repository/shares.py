"""Shares: a secret that any m of n people can put together (SLIP-0039, docs/format/keys.md).

The sharing over GF(256), its checksums and its words are those of SLIP-0039, from its authors' own library. A share is a sheet of
paper: 33 words, each of which its first four letters tell apart, and a digest by which its holder can prove to have it without
showing it. The slot keeps the digests of all its sheets, so that each wrong sheet can be named.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.errors import DriverMissingError, ShareError, UsageError
from holdfast.repository.slots import SplitSecret

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

SHARE_HEAD = "HOLDFAST-SHARE-1"
SECRET_BYTES = 32
WORDS = 33
SHARES_MAX = 16
DIGEST_DIGITS = 16
TEXT_BYTES_MAX = 1 << 16
_LINE = re.compile(r"[a-z]+(?: [a-z]+)*")


def _library() -> Any:  # noqa: ANN401 - an optional library
    try:
        import shamir_mnemonic
    except ImportError:
        raise DriverMissingError(
            "the library that splits keys is not installed",
            safe="nothing was read or written.",
            next="install it: `pip install holdfast[shares]`.",
        ) from None
    return shamir_mnemonic


def digest_of_share(words: str) -> str:
    """Return the digest of a share: 16 hex digits of the SHA-256 of its words, one space between each two."""
    return hashlib.sha256(words.encode("ascii")).hexdigest()[:DIGEST_DIGITS]


def split(threshold: int, count: int, env: Environment) -> tuple[SplitSecret, tuple[str, ...]]:
    """Make a secret and split it: any `threshold` of `count` shares make it. Return it with the words of each share.

    `UsageError` unless 2 <= threshold <= count <= 16: one share that opens alone is a key file.
    """
    if not 2 <= threshold <= count <= SHARES_MAX:  # noqa: PLR2004 - as the sentence says
        raise UsageError(f"of {count} shares {threshold} cannot be needed: at least 2, at most all, and 16 in all")
    secret = env.random_bytes(SECRET_BYTES)
    (words,) = _library().generate_mnemonics(1, [(threshold, count)], secret, iteration_exponent=0)
    return SplitSecret(secret, threshold, tuple(digest_of_share(each) for each in words)), tuple(words)


def read_share(text: str, number: int) -> str:
    """Return the words of a sheet, which may have been typed: lines with words count, numbers and the rest do not.

    `ShareError` naming the sheet by its place among those given.
    """
    lines = [line.strip() for line in text[:TEXT_BYTES_MAX].lower().splitlines()]
    if SHARE_HEAD.lower() in lines:
        start = lines.index(SHARE_HEAD.lower()) + 1
        lines = lines[start : lines.index("", start) if "" in lines[start:] else len(lines)]
    words = " ".join(re.sub(r"[0-9.,:;]+", " ", " ".join(lines)).split())
    if not _LINE.fullmatch(words) or len(words.split()) != WORDS:
        raise ShareError(f"sheet {number} of those given has not {WORDS} words", sheet=number)
    library = _library()
    try:
        share = library.Share.from_mnemonic(words)
    except (library.MnemonicError, ValueError):
        raise ShareError(f"sheet {number} of those given is misread: a word of it is wrong", sheet=number) from None
    said: str = share.mnemonic()
    return said


def combine(texts: Sequence[str], threshold: int, digests: Sequence[str]) -> bytes | None:
    """Return the secret that shares make; None if none of them belongs to the key with these digests.

    `ShareError` names the sheet that is misread, that is given twice or that belongs to another key, or says how many are missing.
    """
    shares = [read_share(text, number) for number, text in enumerate(texts, 1)]
    found = [digest_of_share(words) for words in shares]
    if not set(found) & set(digests):
        return None
    for number, digest in enumerate(found, 1):
        if digest not in digests:
            raise ShareError(f"sheet {number} of those given belongs to another key", sheet=number, digest=digest)
        if digest in found[: number - 1]:
            raise ShareError(f"sheet {number} of those given is there twice", sheet=number, digest=digest)
    if len(shares) < threshold:
        raise ShareError(
            f"{len(shares)} of the {threshold} sheets that are needed were given",
            next=f"give {threshold - len(shares)} more of the {len(digests)} sheets.",
        )
    library = _library()
    try:
        secret: bytes = library.combine_mnemonics(shares[:threshold])
    except library.MnemonicError:
        raise ShareError("the sheets do not make a key, although each is in order") from None
    return secret


def sheet(words: str, *, number: int, count: int, threshold: int, vault: str, label: str, made: str) -> str:
    """Return what is printed: one share on one sheet, with what it is and how it is used."""
    listed = words.split()
    rows = [" ".join(f"{word:<9}" for word in listed[at : at + 6]).rstrip() for at in range(0, len(listed), 6)]
    return "\n".join(
        (
            SHARE_HEAD,
            *rows,
            "",
            f"SHARE {number} of {count} of a key to a Holdfast vault. Any {threshold} of them open it; fewer tell nothing.",
            f"vault:  {vault}" + (f"  ({label})" if label else ""),
            f"made:   {made}",
            f"digest: {digest_of_share(words)}  (tell this, never the words, to show that you have the sheet)",
            "",
            "Keep it away from the other shares and from the backups. To restore, its holders come together and run",
            "",
            "    holdfast restore latest --vault STORE --share SHEET --share SHEET … --to EMPTY-FOLDER",
            "",
            "where each SHEET is a file with this text from its first line, or with the words alone.",
            "",
        )
    )
