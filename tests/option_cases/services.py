"""Options of services and drills."""

from __future__ import annotations

from option_cases import HEAD

S = HEAD + "[services.a]\n"
C = HEAD + '[[services.a.checks]]\nname = "c"\n'
D = HEAD + "[drill]\n"
CASES: dict[str, tuple[str, object]] = {
    "services.*.title": (S + 'title = "Records"', "Records"),
    "services.*.criticality": (S + 'criticality = "vital"', "vital"),
    "services.*.rto": (S + 'rto = "15m"', 900),
    "services.*.rpo": (S + 'rpo = "1h"', 3600),
    "services.*.needs": (S + 'needs = ["b"]\n[services.b]\n', ("b",)),
    "services.*.source": (S + 'source = "ehr-nightly"', "ehr-nightly"),
    "services.*.paths": (S + 'paths = ["/srv/a"]', ("/srv/a",)),
    "services.*.application": (S + 'application = "postgresql"', "postgresql"),
    "services.*.data": (S + 'data = "/var/lib/pg"', "/var/lib/pg"),
    "services.*.recovers": (S + 'recovers = "ehr-db"', "ehr-db"),
    "services.*.programs": (S + 'programs = "/opt/pg/bin"', "/opt/pg/bin"),
    "services.*.command": (S + 'command = ["./serve"]', ("./serve",)),
    "services.*.port": (S + "port = 8080", 8080),
    "services.*.ready_seconds": (S + 'ready_seconds = "2m"', 120),
    "services.*.drill_every": (S + 'drill_every = "30d"', 30 * 86400),
    "services.*.size": (S + 'size = "2GB"', 2_000_000_000),
    "services.*.restore_bytes_per_s": (S + 'restore_bytes_per_s = "100MB"', 100_000_000),
    "services.*.checks.*.name": (HEAD + '[[services.a.checks]]\nname = "patients"', "patients"),
    "services.*.checks.*.kind": (C + 'kind = "http"', "http"),
    "services.*.checks.*.query": (C + 'query = "select 1"', "select 1"),
    "services.*.checks.*.database": (C + 'database = "ehr"', "ehr"),
    "services.*.checks.*.path": (C + 'path = "/health"', "/health"),
    "services.*.checks.*.command": (C + 'command = ["true"]', ("true",)),
    "services.*.checks.*.equals": (C + 'equals = "1"', "1"),
    "services.*.checks.*.at_least": (C + "at_least = 5", 5),
    "services.*.checks.*.drop_max": (C + "drop_max = 0.1", 0.1),
    "drill.place": (D + 'place = "/drills"', "/drills"),
    "drill.evidence": (D + 'evidence = "/evidence"', "/evidence"),
    "drill.isolation": (D + 'isolation = "preferred"', "preferred"),
    "drill.conceal": (D + 'conceal = ["/srv"]', ("/srv",)),
    "drill.sample_files": (D + "sample_files = 10", 10),
    "drill.seconds_max": (D + 'seconds_max = "2h"', 7200),
    "drill.attention": (D + "attention = 0.5", 0.5),
}
