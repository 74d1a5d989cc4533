"""Options of the governor: limits, probes, windows."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

PROBE = HEAD + "[governor.probes.a]\n"
HTTP = 'http = "http://localhost/"\n'
WINDOW = HEAD + '[windows.a]\nstart = "07:00"\nend = "18:00"\n'

CASES: dict[str, tuple[str, object]] = {
    "limits.network_bytes_per_s": (HEAD + '[limits]\nnetwork_bytes_per_s = "4MiB"', 4 << 20),
    "limits.operations_per_s": (HEAD + "[limits]\noperations_per_s = 300", 300),
    "limits.cpu_cores": (HEAD + "[limits]\ncpu_cores = 0.5", 0.5),
    "limits.threads": (HEAD + "[limits]\nthreads = 2", 2),
    "limits.memory_bytes": (HEAD + '[limits]\nmemory_bytes = "64MiB"', 64 << 20),
    "jobs.*.limits.read_bytes_per_s": (HEAD + '[jobs.a.limits]\nread_bytes_per_s = "50MB"', 50_000_000),
    "jobs.*.limits.write_bytes_per_s": (HEAD + "[jobs.a.limits]\nwrite_bytes_per_s = 2048", 2048),
    "jobs.*.limits.network_bytes_per_s": (HEAD + '[jobs.a.limits]\nnetwork_bytes_per_s = "4MiB"', 4 << 20),
    "jobs.*.limits.operations_per_s": (HEAD + "[jobs.a.limits]\noperations_per_s = 300", 300),
    "jobs.*.limits.cpu_cores": (HEAD + "[jobs.a.limits]\ncpu_cores = 0.5", 0.5),
    "jobs.*.limits.threads": (HEAD + "[jobs.a.limits]\nthreads = 2", 2),
    "jobs.*.limits.memory_bytes": (HEAD + '[jobs.a.limits]\nmemory_bytes = "64MiB"', 64 << 20),
    "governor.machine.read_bytes_per_s": (HEAD + '[governor.machine]\nread_bytes_per_s = "50MB"', 50_000_000),
    "governor.machine.write_bytes_per_s": (HEAD + "[governor.machine]\nwrite_bytes_per_s = 2048", 2048),
    "governor.machine.network_bytes_per_s": (HEAD + '[governor.machine]\nnetwork_bytes_per_s = "4MiB"', 4 << 20),
    "governor.machine.operations_per_s": (HEAD + "[governor.machine]\noperations_per_s = 300", 300),
    "governor.machine.cpu_cores": (HEAD + "[governor.machine]\ncpu_cores = 0.5", 0.5),
    "governor.machine.threads": (HEAD + "[governor.machine]\nthreads = 2", 2),
    "governor.machine.memory_bytes": (HEAD + '[governor.machine]\nmemory_bytes = "64MiB"', 64 << 20),
    "governor.enabled": (HEAD + "[governor]\nenabled = false", False),
    "governor.slowdown_max": (HEAD + "[governor]\nslowdown_max = 0.2", 0.2),
    "governor.slowdown_max_for_rpo": (HEAD + "[governor]\nslowdown_max_for_rpo = 0.5", 0.5),
    "jobs.*.rpo_seconds": (HEAD + '[jobs.a]\nrpo_seconds = "4h"', 14_400),
    "governor.only_in_maintenance": (HEAD + "[governor]\nonly_in_maintenance = true", True),
    "governor.wait_for_window": (HEAD + "[governor]\nwait_for_window = true", True),
    "governor.hold_seconds": (HEAD + '[governor]\nhold_seconds = "5m"', 300),
    "governor.priority": (HEAD + '[governor]\npriority = "idle"', "idle"),
    "governor.cgroup": (HEAD + "[governor]\ncgroup = true", True),
    "governor.probes.*.sql": (PROBE + 'sql = "postgresql:///ehr"', "postgresql:///ehr"),
    "governor.probes.*.statement": (PROBE + HTTP + 'statement = "SELECT 2"', "SELECT 2"),
    "governor.probes.*.password": (PROBE + HTTP + 'password = "env:P"', config.SecretRef("env", "P")),
    "governor.probes.*.http": (PROBE + 'http = "http://localhost/"', "http://localhost/"),
    "governor.probes.*.command": (PROBE + 'command = ["true", "-x"]', ("true", "-x")),
    "governor.probes.*.timeout_seconds": (PROBE + HTTP + "timeout_seconds = 1.5", 1.5),
    "windows.*.mode": (WINDOW + 'mode = "closed"', "closed"),
    "windows.*.days": (WINDOW + 'days = ["sat", "holiday"]', ("sat", "holiday")),
    "windows.*.zone": (WINDOW + 'zone = "Europe/Berlin"', "Europe/Berlin"),
    "windows.*.holidays": (WINDOW + 'holidays = ["2026-12-25"]', ("2026-12-25",)),
    "windows.*.slowdown_max": (WINDOW + "slowdown_max = 0.05", 0.05),
    "windows.*.read_bytes_per_s": (WINDOW + "read_bytes_per_s = 0", 0),
    "windows.*.write_bytes_per_s": (WINDOW + 'write_bytes_per_s = "1MB"', 1_000_000),
    "windows.*.network_bytes_per_s": (WINDOW + 'network_bytes_per_s = "1MB"', 1_000_000),
    "windows.*.operations_per_s": (WINDOW + "operations_per_s = 50", 50),
    "windows.*.cpu_cores": (WINDOW + "cpu_cores = 0.25", 0.25),
    "windows.*.start": (HEAD + '[windows.a]\nstart = "22:30"\nend = "05:00"', "22:30"),
    "windows.*.end": (HEAD + '[windows.a]\nstart = "22:30"\nend = "05:00"', "05:00"),
}
