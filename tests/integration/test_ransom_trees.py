"""Real trees of several kinds, encrypted in several ways and backed up: what the engine sees, not what statistics say.

One vault for all; each tree lives two days of churn, is attacked, and is judged once.
"""

from __future__ import annotations

import pytest

import holdfast
from holdfast.runs.options import BackupOptions
from holdfast.testing.ransom_trees import KINDS, WAYS, RealTree

OPTIONS = BackupOptions(update_catalog=False, paranoid=True)
SEED = 3
TREES = (*KINDS, "mixed")
DAYS = 2


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    with holdfast.Vault.create(root / "vault", key_file=root / "key") as made:
        yield made


def lived(vault, tmp_path, kind, seed=SEED):
    """A tree after ordinary days, none of which was suspicious, and a function that backs it up."""
    tree = RealTree(tmp_path / "tree", kind, seed)

    def judged():
        return vault.backup(tree.root, label=str(tmp_path), options=OPTIONS).anomaly

    for _ in range(DAYS):
        found = judged()
        assert found.score < 300, f"seed {seed}: {found}"
        tree.churn()
    return tree, judged


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", TREES)
def test_five_percent_is_seen(vault, tmp_path, kind, way):
    tree, judged = lived(vault, tmp_path, kind)
    count = tree.attack(way, 0.05)
    found = judged()
    print(f"seed {SEED}, {kind}, {count} files {way}: {found.score}, {[sign.name for sign in found.signs]}")  # noqa: T201
    assert found.suspicious


@pytest.mark.parametrize("kind", TREES)
def test_all_of_it_is_seen(vault, tmp_path, kind):
    tree, judged = lived(vault, tmp_path, kind)
    tree.attack("in place", 1.0)
    assert judged().score == 1000
