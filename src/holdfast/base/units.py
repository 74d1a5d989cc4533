"""Bytes, rates and durations as people write and read them."""

from __future__ import annotations

import re

_FACTORS = {
    "": 1, "b": 1,
    "k": 1000, "kb": 1000, "kib": 1 << 10,
    "m": 1000**2, "mb": 1000**2, "mib": 1 << 20,
    "g": 1000**3, "gb": 1000**3, "gib": 1 << 30,
    "t": 1000**4, "tb": 1000**4, "tib": 1 << 40,
}  # fmt: skip
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
_DURATION_PART = re.compile(r"(\d+)\s*([smhdwy])")


def parse_bytes(text: str) -> int:
    """Read `64MiB`, `1.5 GB`, `4096`. Decimal and binary prefixes differ. `ValueError` otherwise."""
    match = _SIZE.fullmatch(text)
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        message = "not a size (write 500MB, 64MiB or a number of bytes)"
        raise ValueError(message)
    return int(float(match[1]) * factor)


def format_bytes(count: int) -> str:
    """Write a count of bytes with three significant digits and a decimal prefix: `1.23 GB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:  # noqa: PLR2004 - a decimal prefix is a thousand
            return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def parse_seconds(text: str) -> int:
    """Read `90s`, `15m`, `7d`, `1d12h`. `ValueError` otherwise."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text.replace(" ", ""):
        message = "not a duration (write 90s, 15m, 36h, 7d)"
        raise ValueError(message)
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def format_seconds(seconds: float) -> str:
    """Write a duration in at most two units: `850 ms`, `12.3 s`, `4 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004 - an hour
        return f"{whole // 60} min {whole % 60} s"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
