"""Patterns match as a shell user expects, on names and on whole paths."""

from __future__ import annotations

import pytest

from holdfast.base.patterns import has_glob, literal_folder, matcher


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        ("*.hl7", [b"srv/a.hl7", b"a.hl7", b"srv/\xff.hl7", b"new\nline.hl7"], [b"a.hl7/b", b"a.hl7x"]),
        ("a?c", [b"abc", b"x/a\xe9c"], [b"ac", b"abbc"]),
        ("[ab]1", [b"a1", b"x/b1"], [b"c1"]),
        ("[!ab]1", [b"c1"], [b"a1"]),
        ("/srv/*", [b"srv/a"], [b"srv", b"srv/a/b"]),
        ("/srv/**", [b"srv/a", b"srv/a/b"], [b"srv", b"srvx/a"]),
        ("srv/**/b", [b"srv/b", b"srv/x/b", b"srv/x/y/b"], [b"srv/xb", b"srv/b/c"]),
        ("srv/[!a]/b", [b"srv/c/b"], [b"srv/a/b", b"srv///b"]),
        ("srv/[a\\]/b", [b"srv/\\/b", b"srv/a/b"], [b"srv/c/b"]),
        ("srv/[x/b", [b"srv/[x/b"], [b"srv/x/b"]),
        ("srv/a.b", [b"srv/a.b"], [b"srv/axb"]),
    ],
)
def test_matches(pattern, hits, misses):
    matches = matcher(pattern)
    assert [path for path in hits if not matches(path)] == []
    assert [path for path in misses if matches(path)] == []


def test_what_is_literal():
    assert has_glob("a*b")
    assert not has_glob("/srv/ehr")
    assert literal_folder("/srv/ehr/*/x") == b"srv/ehr"
    assert literal_folder("**/x") == b""
    assert literal_folder("/srv/ehr") == b"srv/ehr"
