"""Options of the schedule, and of what is watched."""

from __future__ import annotations

from option_cases import HEAD

ENTRY = HEAD + '[schedule.a]\nkind = "verify"\n'
DAILY = ENTRY + 'cron = "30 2 * * *"\n'
WATCH = HEAD + "[monitoring]\n"

CASES: dict[str, tuple[str, object]] = {
    "scheduler.zone": (HEAD + '[scheduler]\nzone = "Europe/Berlin"', "Europe/Berlin"),
    "scheduler.concurrent": (HEAD + "[scheduler]\nconcurrent = 8", 8),
    "scheduler.keep_days": (HEAD + "[scheduler]\nkeep_days = 30", 30),
    "scheduler.log": (HEAD + '[scheduler]\nlog = "json"', "json"),
    "scheduler.unsafe_unrehearsed": (HEAD + "[scheduler]\nunsafe_unrehearsed = true", True),
    "schedule.*.kind": (DAILY, "verify"),
    "schedule.*.job": (HEAD + '[jobs.e]\n[schedule.a]\nevery_seconds = "4h"\njob = "e"', "e"),
    "schedule.*.cron": (DAILY, "30 2 * * *"),
    "schedule.*.every_seconds": (ENTRY + 'every_seconds = "4h"', 14_400),
    "schedule.*.after": (DAILY + 'after = ["b"]\n[schedule.b]\nkind = "check"\nevery_seconds = 60', ("b",)),
    "schedule.*.windows": (DAILY + 'windows = ["20:00-06:00"]', ("20:00-06:00",)),
    "schedule.*.stop_at_window_end": (DAILY + 'windows = ["20:00-06:00"]\nstop_at_window_end = true', True),
    "schedule.*.catch_up": (DAILY + "catch_up = false", False),
    "schedule.*.jitter_seconds": (DAILY + 'jitter_seconds = "10m"', 600),
    "schedule.*.group": (DAILY + 'group = "tape"', "tape"),
    "schedule.*.grace_seconds": (DAILY + 'grace_seconds = "2h"', 7200),
    "schedule.*.attempts": (DAILY + "attempts = 9", 9),
    "schedule.*.retry_seconds": (DAILY + "retry_seconds = 60", 60),
    "schedule.*.run_seconds_max": (DAILY + 'run_seconds_max = "8h"', 28_800),
    "monitoring.listen": (WATCH + 'listen = "127.0.0.1:9187"', "127.0.0.1:9187"),
    "monitoring.textfile": (WATCH + 'textfile = "/run/h.prom"', "/run/h.prom"),
    "monitoring.verification_days": (WATCH + "verification_days = 90", 90),
    "monitoring.drill_days": (WATCH + "drill_days = 90", 90),
    "monitoring.copies": (WATCH + "copies = 3", 3),
    "monitoring.host_silent_days": (WATCH + "host_silent_days = 3", 3),
    "monitoring.store_full_days": (WATCH + "store_full_days = 30", 30),
    "monitoring.store_free_percent": (WATCH + "store_free_percent = 10", 10),
    "monitoring.expiry_days": (WATCH + "expiry_days = 60", 60),
    "monitoring.certificates": (WATCH + 'certificates = ["/c.pem"]', ("/c.pem",)),
}
