"""Shares: any m of n, no fewer; every wrong sheet is named. The vectors are SLIP-0039's own; a second reader agrees."""

from __future__ import annotations

import itertools

import pytest
import rescue_shares
from rescue_format import WrongKey

from holdfast.base.environment import Environment
from holdfast.errors import ShareError, UsageError
from holdfast.repository.shares import combine, digest_of_share, read_share, sheet, split

# From the test vectors that SLIP-0039 publishes, of 256 bits: 2 of 3. Their passphrase makes another secret of them than none.
VECTOR = (
    "humidity disease academic always aluminum jewelry energy woman receiver strategy amuse duckling lying evidence network walnut"
    " tactics forget hairy rebound impulse brother survive clothes stadium mailman rival ocean reward venture always armed unwrap",
    "humidity disease academic agency actress jacket gross physics cylinder solution fake mortgage benefit public busy prepare sharp"
    " friar change work slow purchase ruler again tricycle involve viral wireless mixture anatomy desert cargo upgrade",
)


def made(threshold: int, count: int, env: Environment) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    secret, words = split(threshold, count, env)
    return secret.secret, words, secret.digests


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5), (5, 8)])
def test_any_m_of_n_make_the_secret(env: Environment, threshold: int, count: int) -> None:
    secret, words, digests = made(threshold, count, env)
    assert len({*words}) == count
    for chosen in itertools.combinations(words, threshold):
        assert combine(chosen, threshold, digests) == secret
    assert rescue_shares.combine(list(reversed(words))[:threshold]) == secret
    with pytest.raises(ShareError, match=f"{threshold - 1} of the {threshold} sheets"):
        combine(words[: threshold - 1], threshold, digests)
    with pytest.raises(WrongKey, match="are needed"):
        rescue_shares.combine(list(words[: threshold - 1]))


def test_each_wrong_sheet_is_named(env: Environment) -> None:
    _, words, digests = made(2, 3, env)
    _, foreign, _ = made(2, 3, env)
    with pytest.raises(ShareError, match="sheet 2 of those given is there twice"):
        combine((words[0], words[0]), 2, digests)
    with pytest.raises(ShareError, match="sheet 2 of those given belongs to another key"):
        combine((words[0], foreign[1]), 2, digests)
    assert combine(foreign, 2, digests) is None
    listed = words[1].split()
    for typed, why in (
        (
            " ".join([*listed[:-1], "academic" if listed[-1] != "academic" else "acid"]),
            "sheet 2 of those given is misread",
        ),
        (" ".join([*listed[:4], "holdfast", *listed[5:]]), "sheet 2 of those given is misread"),
        (" ".join(listed[:-1]), "has not 33 words"),
        ("", "has not 33 words"),
    ):
        with pytest.raises(ShareError, match=why):
            combine((words[0], typed), 2, digests)
        with pytest.raises(WrongKey, match="sheet 2"):
            rescue_shares.combine([words[0], typed])
    for pair, why in (((words[0], words[0]), "twice"), ((words[0], foreign[0]), "another key")):
        with pytest.raises(WrongKey, match=why):
            rescue_shares.combine(list(pair))


def test_a_sheet_is_read_as_it_is_printed_and_as_people_type_it(env: Environment) -> None:
    _, words, digests = made(2, 3, env)
    printed = sheet(words[0], number=1, count=3, threshold=2, vault="ab" * 16, label="ward 7", made="2026-11-23")
    assert digests[0] in printed
    assert digests[0] == digest_of_share(words[0])
    assert read_share(printed, 1) == words[0]
    assert rescue_shares.read_sheet(printed, 1) == rescue_shares.read_sheet(words[0], 1)
    typed = "\n".join(f"{number}. {word.upper()}" for number, word in enumerate(words[0].split(), 1))
    assert read_share(typed, 1) == words[0]
    assert max(map(len, printed.splitlines())) < 110


@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (4, 3), (2, 17), (0, 0)])
def test_what_cannot_be_split_is_refused(env: Environment, threshold: int, count: int) -> None:
    with pytest.raises(UsageError):
        split(threshold, count, env)


def test_the_published_vector() -> None:
    """The vector's secret is under a passphrase; without it both readers make the same other secret of its shares."""
    digests = [digest_of_share(words) for words in VECTOR]
    ours = combine(VECTOR, 2, digests)
    assert ours is not None
    assert ours == rescue_shares.combine(list(VECTOR))
    import shamir_mnemonic

    assert shamir_mnemonic.combine_mnemonics(VECTOR, b"TREZOR").hex() == (
        "c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae"
    )
