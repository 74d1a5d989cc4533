"""A labelled corpus of healthcare files, backed up under policies with a store for each class: every file goes where it may.

Rules say `public` for everything, so that it is the content alone that sends a file elsewhere. Each file's class in the
snapshot is at least as sensitive as its label, and no pack of a class lies on a store that its class may not lie on.
HOLDFAST_CORPUS_FILES says how many files.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from tests.tiered import Tiered, book

from holdfast.base.data_classes import CLASS_NAMES, class_rank
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy
from holdfast.runs.options import BackupOptions
from holdfast.testing.corpus import FILES, corpus

COUNT = int(os.environ.get("HOLDFAST_CORPUS_FILES", f"{FILES}"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
IDS = {name: number for number, name in CLASS_NAMES.items()}


def test_every_labelled_file_goes_to_a_store_that_its_policy_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    # Patient data of any kind beside the home, on stores of its own; what anyone may read on the home.
    places = {
        "phi-restricted": ("second", "third"),
        "phi": ("second", "third"),
        "imaging": ("third",),
        "database": ("cold",),
    }
    policies = {
        name: ClassPolicy(name, places.get(name, (HOME,)), copies=len(places.get(name, (HOME,)))) for name in HEALTHCARE
    }
    site = Tiered(tmp_path, book(None, **policies))
    labels = {}
    for number, sample in enumerate(corpus(SEED, COUNT)):
        # One folder each: a folder takes the highest class in it, and that would hide a file that is missed.
        path = site.source / f"{number:05d}" / "file"
        path.parent.mkdir(parents=True)
        path.write_bytes(sample.content)
        labels[str(path).lstrip("/").encode()] = sample.label
    assert len(labels) == COUNT >= 5_000 or "HOLDFAST_CORPUS_FILES" in os.environ
    with site.create() as vault:
        result = vault.backup([site.source], label="corpus", options=BackupOptions(default_class="public"))
        assert result.exit_code == 0, result.findings[:5]
        classes = {entry.path: entry.class_id for entry in vault.snapshots().latest().walk() if entry.kind == "file"}
        assert classes.keys() == labels.keys()
        labelled = {path: label for path, label in labels.items() if label}
        missed = Counter(
            label for name, label in labelled.items() if class_rank(classes[name]) > class_rank(IDS[label])
        )
        assert not missed, missed
        for name in labelled:
            assert HOME not in site.rules.allowed(CLASS_NAMES[classes[name]])
        site.nothing_misplaced()
        assert site.by_class()["phi"] == {"second", "third"}
        assert site.by_class()["public"] == {HOME}
        assert vault.check().problems == ()
