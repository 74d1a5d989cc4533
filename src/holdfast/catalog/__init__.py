"""What was backed up when: names, sizes and times of every snapshot, in SQLite, derived and rebuildable.

Names are patient data: the file lies beside the key that can read them, mode 0600, and nowhere else.
"""

from holdfast.catalog.catalog import Catalog
from holdfast.catalog.feed import Feed, VaultFeed
from holdfast.catalog.records import CatalogChange, CatalogEntry, CatalogSnapshot, CatalogUpdate, FileVersion

__all__ = [
    "Catalog",
    "CatalogChange",
    "CatalogEntry",
    "CatalogSnapshot",
    "CatalogUpdate",
    "Feed",
    "FileVersion",
    "VaultFeed",
]
