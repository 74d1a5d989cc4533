"""Options of the signs of ransomware."""

from __future__ import annotations

from option_cases import HEAD

PART = HEAD + "[anomaly]\n"

CASES: dict[str, tuple[str, object]] = {
    "anomaly.extensions": (PART + 'extensions = [".odd"]', (".odd",)),
    "anomaly.notes": (PART + 'notes = ["pay_us"]', ("pay_us",)),
    "anomaly.ignored": (PART + 'ignored = ["locked"]', ("locked",)),
    "anomaly.lock_days": (PART + "lock_days = 7", 7),
    "anomaly.lock_objects_max": (PART + "lock_objects_max = 10", 10),
}
