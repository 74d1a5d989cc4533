"""PostgreSQL: base backups by the low-level API, and logical dumps."""

from __future__ import annotations

from holdfast.sources.connectors.postgresql.connector import FACTORY

__all__ = ["FACTORY"]
