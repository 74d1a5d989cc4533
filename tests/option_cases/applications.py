"""Options of applications and of the jobs that capture them."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

APPLICATION = HEAD + '[applications.a]\nconnector = "postgresql"\n'

CASES: dict[str, tuple[str, object]] = {
    "retention.pitr_days": (HEAD + "[retention]\npitr_days = 90", 90),
    "jobs.*.applications": (HEAD + '[jobs.a]\napplications = ["ehr-db"]', ("ehr-db",)),
    "applications.*.connector": (HEAD + '[applications.a]\nconnector = "redis"', "redis"),
    "applications.*.host": (APPLICATION + 'host = "db.ward"', "db.ward"),
    "applications.*.port": (APPLICATION + "port = 5433", 5433),
    "applications.*.user": (APPLICATION + 'user = "holdfast"', "holdfast"),
    "applications.*.password": (APPLICATION + 'password = "env:P"', config.SecretRef("env", "P")),
    "applications.*.database": (APPLICATION + 'database = "postgres"', "postgres"),
    "applications.*.path": (APPLICATION + 'path = "/var/lib/x"', "/var/lib/x"),
    "applications.*.url": (APPLICATION + 'url = "http://localhost:8042"', "http://localhost:8042"),
    "applications.*.options": (APPLICATION + 'options = {spool = "/wal"}', {"spool": "/wal"}),
    "applications.*.acquire_ms": (APPLICATION + "acquire_ms = 100", 100),
    "applications.*.hold_ms": (APPLICATION + "hold_ms = 200", 200),
    "applications.*.attempts": (APPLICATION + "attempts = 5", 5),
    "applications.*.degrade": (APPLICATION + 'degrade = "crash"', "crash"),
}
