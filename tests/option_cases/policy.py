"""Options of policies, tiers and the spool."""

from __future__ import annotations

from option_cases import HEAD

_POLICY = HEAD + "[policies.a]\n"
_MOVE = HEAD + "[[policies.a.moves]]\n"
_TIER = HEAD + "[tiers.a]\n"

CASES: dict[str, tuple[str, object]] = {
    "policies.*.stores": (_POLICY + 'stores = ["home", "second"]', ("home", "second")),
    "policies.*.copies": (_POLICY + "copies = 3", 3),
    "policies.*.level": (_POLICY + "level = 9", 9),
    "policies.*.verify_seconds": (_POLICY + 'verify_seconds = "14d"', 14 * 86400),
    "policies.*.retain_seconds": (_POLICY + 'retain_seconds = "30d"', 30 * 86400),
    "policies.*.spool": (_POLICY + "spool = false", False),
    "policies.*.parity": (_POLICY + "parity = 3", 3),
    "policies.*.unsafe_single_copy": (_POLICY + "unsafe_single_copy = true", True),
    "policies.*.moves.*.after": (_MOVE + 'after = "90d"\nstores = ["cold"]', 90 * 86400),
    "policies.*.moves.*.stores": (_MOVE + 'after = "90d"\nstores = ["cold"]', ("cold",)),
    "policies.*.moves.*.unless_restored_within": (
        _MOVE + 'after = "90d"\nstores = ["cold"]\nunless_restored_within = "30d"',
        30 * 86400,
    ),
    "tiers.*.tier": (_TIER + 'tier = "cold"', "cold"),
    "tiers.*.classes": (_TIER + 'classes = ["public"]', ("public",)),
    "tiers.*.lock_seconds": (_TIER + 'lock_seconds = "30d"', 30 * 86400),
    "tiers.*.thaw_seconds": (_TIER + 'thaw_seconds = "12h"', 43_200),
    "tiers.*.read_bytes_per_s": (_TIER + 'read_bytes_per_s = "50MB"', 50_000_000),
    "tiers.*.price_per_gib": (_TIER + "price_per_gib = 0.02", 0.02),
    "tiers.*.price_per_1000": (_TIER + "price_per_1000 = 0.4", 0.4),
    "spool.folder": (HEAD + '[spool]\nfolder = "/var/spool/holdfast"', "/var/spool/holdfast"),
    "spool.bytes_max": (HEAD + '[spool]\nbytes_max = "1GiB"', 1 << 30),
    "spool.alarm_seconds": (HEAD + '[spool]\nalarm_seconds = "1h"', 3600),
}
