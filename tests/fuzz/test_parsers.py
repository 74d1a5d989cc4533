"""Parsers of foreign bytes: the kept corpus, and mutations of it. They refuse with the project's own errors, and with no other.

HOLDFAST_FUZZ_MUTATIONS tries more of each, HOLDFAST_FUZZ_SEED other ones; docs/fuzzing.md has the long runs.
"""

from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest

from holdfast.base.plain_json import read_json
from holdfast.testing.mutations import ODD_TEXTS, mutate, mutations
from holdfast.testing.parsers import PARSERS, feed

CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus"
MUTATIONS = int(os.environ.get("HOLDFAST_FUZZ_MUTATIONS", "400"))
SEED = int(os.environ.get("HOLDFAST_FUZZ_SEED", "1"))


def kept(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_refuses_in_the_projects_own_words(name):
    corpus = kept(name)
    assert corpus
    tried = 0
    for data in itertools.chain(corpus, itertools.islice(mutations(SEED, corpus), MUTATIONS)):
        try:
            feed(name, data)
        except Exception as error:
            error.add_note(f"seed {SEED}, parser {name}, input {data[:300]!r} ({len(data)} bytes)")
            raise
        tried += 1
    assert tried == len(corpus) + MUTATIONS


@pytest.mark.parametrize("name", PARSERS)
def test_what_was_really_written_is_accepted(name):
    """Else a corpus would try nothing but the first check of its parser."""
    accepted = 0
    for data in kept(name):
        try:
            PARSERS[name](data)
        except Exception:  # noqa: BLE001, S112 - the test above looks at what it is
            continue
        accepted += 1
    assert accepted


def test_equal_seeds_give_equal_mutations():
    corpus = [b"a corpus", b'{"a":[1,{"b":"c"}],"d":null}']
    first, second = (list(itertools.islice(mutations(7, corpus), 200)) for _ in range(2))
    assert first == second
    assert len(set(first)) > 150
    assert all(isinstance(mutate(random.Random(seed), b"", b""), bytes) for seed in range(50))


@pytest.mark.parametrize(
    "text", [*ODD_TEXTS, b"", b"[1", b'{"a":NaN}', b"[1e999]", b'["\\udfff"]', b"[" * 100_000 + b"]" * 100_000]
)
def test_json_that_breaks_its_reader_later_is_refused_at_once(text):
    with pytest.raises(ValueError):  # noqa: PT011 - that it is nothing else is what is tried
        read_json(text)


def test_plain_json_is_read():
    assert read_json(b'{"a":[1,2.5,"\xc3\xa4",null,true]}') == {"a": [1, 2.5, "ä", None, True]}
