"""What backups watch for, and what a suspicion does to stores: the one place with the names that ransomware gives.

Names are matched on the host that is backed up, whatever their case; only how many files have one leaves it. A list like this
is never complete and ages: it catches what is old or careless, the other signs catch the rest (docs/anomaly.md). What a site
uses itself is taken out by `anomaly.ignored`, what it learns of is added by `anomaly.extensions` and `anomaly.notes`.
"""

from __future__ import annotations

from holdfast.base.values import dataclass

__all__ = ["EXTENSIONS", "LOCK_DAYS", "LOCK_OBJECTS_MAX", "NOTES", "Watch"]

LOCK_DAYS = 30
"""How long the objects of a pinned snapshot are locked from each run on, where a store can."""
LOCK_OBJECTS_MAX = 20_000
"""Objects whose lock one run extends at the most; the next one goes on."""

_WORDS = """
00000001 8base abcd1 aesir akira akiranew avaddon avos avos2 avoslinux babuk babyk basta bianlian blackbasta blackbyte
blacksuit cerber cerber2 cerber3 ciop cl0p cllp clop conti crab crypted cryptolocker cryptowall crypz crysis cts0 cts1
cuba cyclops darkside devos dharma dragonforce_encrypted egregor eking ekans enc_robbinhood encrypted encryptedrsa ezz
fivehands flocked gandcrab gdcb hellokitty hive interlock karma krab lckd lock2g lockbit locked lockedfile locky lokd
lv0 lynx makop maze medusa medusalocker meow mkp monti nefilim nephilim nemty netwalker noescape odin onion osiris
phobos powerranges puuuk pysa quantum ragnar ragnarok ransom ransomexx ransomhub ranzy readmanual rhysida royal
royal_u royal_w ryk ryuk safepay sarcoma snatch sodinokibi suncrypt thanos trigona v-society wallet wcry weapologize
wncry wncryt zepto zeppelin zzzzz
"""
EXTENSIONS = tuple(_WORDS.split())
"""Last extensions of files that ransomware has encrypted, lower case."""

NOTES = (
    "!!!read_me_medusa!!!",
    "!!!readme!!!",
    "!please_read_me!",
    "!wannadecryptor!",
    "# decrypt my files",
    "#decrypt_my_files",
    "@please_read_me@",
    "@wanadecryptor@",
    "_decrypt_",
    "_help_instructions",
    "_how_recover",
    "_how_to_decrypt",
    "_locky_recover",
    "_readme.txt",
    "akira_readme",
    "all_your_files_are",
    "cl0preadme",
    "clopreadme",
    "conti_readme",
    "contireadme",
    "criticalbreachdetected",
    "decrypt-files",
    "decrypt_files",
    "decrypt_instruction",
    "decryption_instructions",
    "files_encrypted",
    "help_decrypt",
    "help_recover_files",
    "help_restore_files",
    "help_your_files",
    "how to decrypt",
    "how to recover files",
    "how to restore files",
    "how-to-decrypt",
    "how-to-recover-files",
    "how-to-restore",
    "how_to_back_files",
    "how_to_decrypt",
    "how_to_recover_files",
    "how_to_restore_files",
    "how_to_unlock_files",
    "howtodecrypt",
    "howtorestore",
    "info.hta",
    "instructions_read_me",
    "lockbit-note",
    "lockbit_note",
    "read_it_to_recover",
    "read_me_for_decrypt",
    "readme_for_decrypt",
    "readme_to_decrypt",
    "recover-my-files",
    "recover-your-files",
    "recover_my_files",
    "recover_your_files",
    "restore-my-files",
    "restore_my_files",
    "restore_your_files",
    "ryukreadme",
    "unlock-my-files",
    "unlock_my_files",
    "your files are encrypted",
    "your_files_are_encrypted",
)
"""Beginnings of the names of notes that ransomware leaves, lower case."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched for, and how far a suspicion locks what it pins."""

    extensions: tuple[str, ...] = EXTENSIONS
    notes: tuple[str, ...] = NOTES
    lock_days: int = LOCK_DAYS
    """0: no lock is ever extended."""
    lock_objects_max: int = LOCK_OBJECTS_MAX

    @classmethod
    def of(
        cls,
        *,
        extensions: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
        lock_days: int = LOCK_DAYS,
        lock_objects_max: int = LOCK_OBJECTS_MAX,
    ) -> Watch:
        """Return the known names with those added and without those ignored; leading dots and case mean nothing."""
        without = {word.lower().lstrip(".") for word in ignored}
        marks = {word.lower().lstrip(".") for word in (*EXTENSIONS, *extensions)} - without
        beginnings = {word.lower() for word in (*NOTES, *notes)} - without
        return cls(tuple(sorted(marks)), tuple(sorted(beginnings)), lock_days, lock_objects_max)
