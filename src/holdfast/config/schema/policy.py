"""Settings of policies: per data class where its packs go; per store its tier, prices and lock; the spool for outages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.types import StrictBool, StrictFloat, StrictInt

from holdfast.config.schema.fields import DAY, GIB, MIB, Name, Seconds, Section, Size, Text, option

__all__ = ["MoveSettings", "PolicySettings", "SpoolSettings", "TierSettings"]

YEAR = 366 * DAY
Names = Annotated[tuple[Name, ...], Field(max_length=64)]
Price = StrictFloat | StrictInt


class MoveSettings(Section):
    """Where packs of the class go when they are older. The last move whose age is reached decides."""

    after: Seconds = option(..., "The age of a pack from which on it applies.", unit="seconds", ge=1, le=200 * YEAR)
    stores: Annotated[Names, Field(min_length=1)] = option(
        ..., "Stores by name, in order: the first `copies` of them hold the pack, the others stand in."
    )
    unless_restored_within: Seconds = option(
        0, "Not while the pack was restored from within so long; 0 asks for no access.", unit="seconds", ge=0, le=YEAR
    )


class PolicySettings(Section):
    """Where packs of a data class go, how often, for how long; `default` is for every class without a table of its own."""

    stores: Names = option(
        (),
        "Stores by name, in order, `home` for the vault's own: the first `copies` hold each pack, the others stand in"
        " while one of them is down. Empty: `home`.",
    )
    copies: StrictInt | None = option(
        None, "On how many stores each pack lies. Without a value: the class's default.", unit="stores", ge=1, le=8
    )
    moves: tuple[MoveSettings, ...] = option((), "Other stores for older packs.")
    level: StrictInt | None = option(
        None, "The level of zstd for jobs whose default class it is. Without a value: that of `backup`.", ge=-7, le=19
    )
    verify_seconds: Seconds | None = option(
        None,
        "Every copy is read back within so long by `holdfast verify --due`. Without a value: the class's default.",
        unit="seconds",
        ge=DAY,
        le=10 * YEAR,
    )
    retain_seconds: Seconds = option(
        0, "No snapshot with files of the class is forgotten before it is so old.", unit="seconds", ge=0, le=200 * YEAR
    )
    spool: StrictBool = option(True, "While no store answers, packs of the class may wait in the spool.")
    parity: StrictInt | None = option(
        None,
        "Parity objects for each group of up to sixteen packs of the class: so many lost packs of a group come back. 0 for"
        " none. Without a value: that of `vault.parity` where a pack has one copy, none where it has several.",
        unit="objects",
        ge=0,
        le=4,
    )
    unsafe_single_copy: StrictBool = option(
        False, "Accept a single copy of patient data: one lost disk is then the loss of it."
    )


class TierSettings(Section):
    """What a store costs, promises and may hold. `home` is the vault's own store."""

    tier: Literal["hot", "warm", "cold", "offline"] = option(
        "hot", "How it is used: `hot`, `warm`, `cold` (slow or dear to read), `offline` (reached by courier only)."
    )
    classes: Names = option((), "The data classes that may lie on it. Empty: all.")
    lock_seconds: Seconds = option(
        0, "How long the store refuses to delete what was put (object lock).", unit="seconds", ge=0, le=200 * YEAR
    )
    thaw_seconds: Seconds = option(
        0, "How long until a pack can be read once asked for.", unit="seconds", ge=0, le=YEAR
    )
    read_bytes_per_s: Size | None = option(
        None, "How fast it reads, for estimates. Without a value no time is estimated.", unit="bytes per second", ge=1
    )
    price_per_gib: Price = option(0, "What reading a GiB costs, in the site's currency.", unit="per GiB", ge=0)
    price_per_1000: Price = option(0, "What a thousand requests cost.", unit="per 1000 requests", ge=0)


class SpoolSettings(Section):
    """Where sealed packs wait while no store takes them."""

    folder: Text | None = option(None, "The folder. Without a value: in the local state.")
    bytes_max: Size = option(10 * GIB, "How much may wait; then the run stops.", unit="bytes", ge=MIB, le=1024 * GIB)
    alarm_seconds: Seconds = option(
        4 * 3600, "An alert is raised when something waits longer.", unit="seconds", ge=0, le=YEAR
    )
