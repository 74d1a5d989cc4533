"""A catalog that is nothing but dictionaries, and a feed of made-up snapshots: what the real one is compared with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from holdfast.base.data_classes import class_rank
from holdfast.catalog.feed import split
from holdfast.catalog.records import KIND_NAMES, CatalogChange, CatalogEntry
from holdfast.errors import DamageError

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ModelClass:
    class_id: int


@dataclass(frozen=True)
class ModelSnapshot:
    """`trees`: class id -> {path: (kind, size, mtime, mark)}; None stands for a tree that cannot be read."""

    id: str
    source: str
    finished: datetime
    trees: dict

    @property
    def classes(self):
        return [ModelClass(class_id) for class_id in self.trees]


class ModelFeed:
    """A feed over model snapshots; roots in `damaged` raise when read."""

    def __init__(self, batch=3):
        self.all, self.batch, self.damaged, self.marks = [], batch, set(), True

    def add(self, trees, source="s"):
        number = len(self.all)
        moment = START + timedelta(hours=(number * 7) % 5 + number)
        self.all.append(ModelSnapshot(f"{number:032x}", source, moment, trees))
        return self.all[-1]

    def snapshots(self):
        return [snapshot for snapshot in self.all if snapshot is not None]

    def root(self, snapshot, class_id):
        return None if snapshot.trees[class_id] is None else f"{snapshot.id}:{class_id}"

    def tree(self, root):
        if root in self.damaged:
            raise DamageError("a node")
        snapshot_id, class_id = root.split(":")
        found = next(snapshot for snapshot in self.all if snapshot is not None and snapshot.id == snapshot_id)
        return found.trees[int(class_id)]

    def rows(self, root, base):
        new, old = self.tree(root), self.tree(base) if base else {}
        changed = [path for path in sorted(new.keys() | old.keys()) if new.get(path) != old.get(path)]
        for at in range(0, len(changed), self.batch):
            part = changed[at : at + self.batch]
            present = [(*split(p), *new[p][:3], new[p][3] if self.marks else None) for p in part if p in new]
            yield present, [split(path) for path in part if path not in new]


def view(snapshot):
    """Path -> entry of a snapshot: the readable classes merged, the lowest rank counting."""
    found = {}
    for class_id in sorted(snapshot.trees, key=class_rank, reverse=True):
        for path, (kind, size, mtime, _) in (snapshot.trees[class_id] or {}).items():
            found[path] = CatalogEntry(path, KIND_NAMES[kind], size, mtime, class_id)
    return found


def changes(before, after):
    """What differs: any entry whose value or mark does, in tree order."""
    old, new = view(before), view(after)
    known = [c for c in before.trees.keys() | after.trees.keys() if before.trees.get(c, 0) is not None]
    known = [c for c in known if after.trees.get(c, 0) is not None]
    if len(known) != len(before.trees.keys() | after.trees.keys()):
        return None  # some class is not known on one side: left out of the answer
    for path in sorted(old.keys() | new.keys(), key=lambda path: path.replace(b"/", b"\0")):
        a, b = old.get(path), new.get(path)
        if a is None or b is None:
            yield CatalogChange("added" if a is None else "removed", path, a, b)
        elif a != b or before.trees[a.class_id][path] != after.trees[b.class_id][path]:
            yield CatalogChange("changed", path, a, b)
