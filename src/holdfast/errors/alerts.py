"""The errors of alerts: channels, acknowledgements."""

from __future__ import annotations

from holdfast.errors.core import AccessError, HoldfastError, MissingError, Retry, Safety

__all__ = [
    "AlertMissingError",
    "ChannelDriverMissingError",
    "ChannelError",
    "RecipientMissingError",
    "ReplyRefusedError",
]


class AlertMissingError(MissingError):
    """There is no such alert."""

    code = "alert-missing"
    meaning = "No alert has this number."
    next = "`holdfast alerts list --all` lists those that there are."


class ReplyRefusedError(AccessError):
    """A signed reply to an alert is not accepted."""

    code = "reply-refused"
    meaning = "A signed reply to an alert is damaged, signed by nobody who is known, or was used before."
    safe = "the alert stays as it was, and goes on to be escalated."
    next = "sign it anew with the key of a configured contact: `holdfast alerts reply`."


class ChannelError(HoldfastError):
    """A channel did not take a message."""

    code = "channel-failed"
    retry = Retry.LATER
    safety = Safety.INTACT
    meaning = "A channel for alerts did not take a message; it goes by the next channel, contact or level."
    safe = "every backup is as it was; the alert is kept and told by another way."
    next = "`holdfast alerts test CHANNEL` says whether it works again."


class RecipientMissingError(ChannelError):
    """A message has nobody to go to by this channel: the channel itself may be well."""

    code = "recipient-missing"
    retry = Retry.NEVER
    meaning = "A message by mail has no recipient: neither the contact nor the channel names an address."
    next = "give the contact an `address`, or the channel `recipients`; `holdfast alerts test CHANNEL --address` tries one."


class ChannelDriverMissingError(ChannelError):
    """The library that a channel needs is not installed."""

    code = "channel-driver-missing"
    retry = Retry.NEVER
    meaning = "The library that a kind of channel needs is not installed."
    next = "install Holdfast with its extra `alerts`."
