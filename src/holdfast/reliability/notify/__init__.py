"""The channels by which messages leave, one module each. A plug-in is an entry point of the group `holdfast.channels`."""

from __future__ import annotations

from holdfast.reliability.notify.protocol import Channel, Message, Receipt
from holdfast.reliability.notify.registry import build

__all__ = ["Channel", "Message", "Receipt", "build"]
