"""What runs go on from: source ids that reveal nothing and stay, caches that change only at a commit, one run at a time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import LocalStateError, NotPermittedError
from holdfast.runs.continuity import held, identify


def repository(key=b"k" * 32):
    def secrets(class_id, generation, dedup_key):
        return SimpleNamespace(id=class_id, generation=generation, dedup_key=dedup_key)

    rows = (secrets(7, 0, b"p" * 32), secrets(1, 1, b"n" * 32), secrets(1, 0, key))
    return SimpleNamespace(vault_id=b"v" * 16, generations=lambda: rows, role="writer")


def test_the_same_label_is_the_same_source_whatever_its_paths():
    first = identify(repository(), [b"/a"], "ehr", "host")
    assert first.id == identify(repository(), [b"/b", b"/c"], "ehr", "host").id
    assert first.id != identify(repository(), [b"/a"], "ehr", "other").id
    assert first.id != identify(repository(), [b"/a"], "pacs", "host").id
    assert first.id != identify(repository(b"o" * 32), [b"/a"], "ehr", "host").id
    assert len(bytes.fromhex(first.id)) == 16


def test_who_holds_no_key_to_store_with_has_no_source():
    auditor: Any = SimpleNamespace(generations=tuple, role="auditor")
    with pytest.raises(NotPermittedError):
        identify(auditor, [b"/a"], "ehr", "host")


def test_without_a_label_the_paths_are_the_source():
    one = identify(repository(), [b"/a", b"/b"], "", "host").id
    assert one == identify(repository(), [b"/b", b"/a"], "", "host").id
    assert one != identify(repository(), [b"/a"], "", "host").id
    assert one != identify(repository(), [b"/a/b"], "", "host").id
    assert identify(repository(), [b"paths"], "", "h").id != identify(repository(), [], "paths", "h").id


def test_a_cache_counts_only_once_accepted(tmp_path):
    with held(tmp_path, "s") as caches:
        assert caches.current_or_none() is None
        caches.next.write_text("one")
        caches.accept()
    with held(tmp_path, "s") as caches:
        caches.next.write_text("half")
    with held(tmp_path, "s") as caches:
        assert not caches.next.exists()
        assert caches.current.read_text() == "one"
        assert caches.current_or_none() == str(caches.current)


def test_one_run_of_a_source_at_a_time(tmp_path):
    with held(tmp_path, "s"):
        with pytest.raises(LocalStateError), held(tmp_path, "s"):
            pass
        with held(tmp_path, "other"):
            pass
    with held(tmp_path, "s"):
        pass
