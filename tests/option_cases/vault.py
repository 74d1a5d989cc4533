"""Options of the vault, its jobs, retention, prune and verification."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

CASES: dict[str, tuple[str, object]] = {
    "vault.url": ('[vault]\nurl = "/elsewhere"', "/elsewhere"),
    "vault.key_file": (HEAD + 'key_file = "file:/k"', config.SecretRef("file", "/k")),
    "vault.passphrase": (HEAD + 'passphrase = "env:P"', config.SecretRef("env", "P")),
    "vault.credential": (HEAD + 'credential = "file:/c"', config.SecretRef("file", "/c")),
    "jobs.*.paths": (HEAD + '[jobs.a]\npaths = ["/x", "/y"]', ("/x", "/y")),
    "jobs.*.exclude": (HEAD + '[jobs.a]\nexclude = ["*.tmp"]', ("*.tmp",)),
    "jobs.*.exclude_caches": (HEAD + "[jobs.a]\nexclude_caches = false", False),
    "jobs.*.exclude_larger_than": (HEAD + '[jobs.a]\nexclude_larger_than = "2GiB"', 2 << 30),
    "jobs.*.one_file_system": (HEAD + "[jobs.a]\none_file_system = true", True),
    "jobs.*.default_class": (HEAD + '[jobs.a]\ndefault_class = "imaging"', "imaging"),
    "jobs.*.detect": (HEAD + "[jobs.a]\ndetect = false", False),
    "jobs.*.paranoid": (HEAD + "[jobs.a]\nparanoid = true", True),
    "jobs.*.audit_files": (HEAD + "[jobs.a]\naudit_files = 99", 99),
    "jobs.*.tags": (HEAD + '[jobs.a]\ntags = ["nightly"]', ("nightly",)),
    "jobs.*.streams.*.path": (HEAD + '[[jobs.a.streams]]\npath = "/d"\ncommand = ["true"]', "/d"),
    "jobs.*.streams.*.command": (HEAD + '[[jobs.a.streams]]\npath = "/d"\ncommand = ["a", "b"]', ("a", "b")),
    "jobs.*.streams.*.environment": (
        HEAD + '[[jobs.a.streams]]\npath = "/d"\ncommand = ["true"]\nenvironment = ["PGPASSFILE"]',
        ("PGPASSFILE",),
    ),
    "jobs.*.streams.*.class_name": (
        HEAD + '[[jobs.a.streams]]\npath = "/d"\ncommand = ["true"]\nclass_name = "database"',
        "database",
    ),
    "jobs.*.classes.*.pattern": (HEAD + '[[jobs.a.classes]]\npattern = "*.dcm"\nname = "imaging"', "*.dcm"),
    "jobs.*.classes.*.name": (HEAD + '[[jobs.a.classes]]\npattern = "*"\nname = "public"', "public"),
    "backup.level": (HEAD + "[backup]\nlevel = 3", 3),
    "backup.workers": (HEAD + "[backup]\nworkers = 4", 4),
    "backup.upload_threads": (HEAD + "[backup]\nupload_threads = 8", 8),
    "backup.pack_bytes": (HEAD + '[backup]\npack_bytes = "16MiB"', 16 << 20),
    "backup.checkpoint_bytes": (HEAD + '[backup]\ncheckpoint_bytes = "2GB"', 2_000_000_000),
    "backup.checkpoint_seconds": (HEAD + '[backup]\ncheckpoint_seconds = "10m"', 600),
    "limits.read_bytes_per_s": (HEAD + '[limits]\nread_bytes_per_s = "50MB"', 50_000_000),
    "limits.write_bytes_per_s": (HEAD + "[limits]\nwrite_bytes_per_s = 2048", 2048),
    "retention.last": (HEAD + "[retention]\nlast = 3", 3),
    "retention.hourly": (HEAD + "[retention]\nhourly = 24", 24),
    "retention.daily": (HEAD + "[retention]\ndaily = 30", 30),
    "retention.weekly": (HEAD + "[retention]\nweekly = 5", 5),
    "retention.monthly": (HEAD + "[retention]\nmonthly = 6", 6),
    "retention.yearly": (HEAD + "[retention]\nyearly = 30", 30),
    "retention.within_days": (HEAD + "[retention]\nwithin_days = 14", 14),
    "retention.tags": (HEAD + '[retention]\ntags = ["keep"]', ("keep",)),
    "prune.undo_seconds": (HEAD + '[prune]\nundo_seconds = "2d"', 172_800),
    "prune.repack_below": (HEAD + "[prune]\nrepack_below = 0.25", 0.25),
    "prune.revoke_silent": (HEAD + "[prune]\nrevoke_silent = true", True),
    "verify.sample": (HEAD + "[verify]\nsample = 0.1", 0.1),
    "verify.older_than_days": (HEAD + "[verify]\nolder_than_days = 7", 7),
}
