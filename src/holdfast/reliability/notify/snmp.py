"""SNMP: a trap of version 2c, or an inform of version 3 with a user (RFC 3416, 3414), through `pysnmp`.

Objects under the configured identifier OID (docs/HOLDFAST-MIB.txt): OID.0.1 names the trap; OID.1.1 … OID.1.6 are site, subject,
safety, level, alert numbers and codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelDriverMissingError, ChannelError
from holdfast.reliability.notify.protocol import Message, Receipt

__all__ = ["Snmp", "make", "values"]

_PORT = 162
_TEXT_MAX = 255


def values(message: Message) -> tuple[str | int, ...]:
    """Return what the objects under OID.1 hold, in their order."""
    return (
        message.site[:_TEXT_MAX],
        message.subject[:_TEXT_MAX],
        message.safety.value,
        message.level,
        ",".join(map(str, message.numbers))[:_TEXT_MAX],
        ",".join(message.codes)[:_TEXT_MAX],
    )


class Snmp:
    """A network management station. A trap is not answered; an inform (version 3) is, and the receipt says so."""

    def __init__(self, name: str, settings: ChannelSettings, environ: Mapping[str, str]) -> None:
        """Read the community, or the user's keys; nothing is contacted."""
        self.name = name
        self._settings = settings
        self._community = settings.community.reveal(environ) if settings.community else "public"
        self._key = settings.password.reveal(environ) if settings.password else None
        self._privacy = settings.privacy.reveal(environ) if settings.privacy else None

    def send(self, message: Message) -> Receipt:
        """Send it."""
        try:
            from pysnmp.hlapi.v3arch import asyncio as snmp
        except ImportError:
            raise ChannelDriverMissingError("a channel of kind snmp needs `pysnmp`") from None
        inform = bool(self._settings.username)
        try:
            failed = asyncio.run(
                asyncio.wait_for(self._send(snmp, message, inform=inform), self._settings.timeout_seconds)
            )
        except Exception as error:  # noqa: BLE001 - pysnmp raises many kinds, whose texts may hold keys
            raise ChannelError(f"the SNMP manager of {self.name} was not reached: {type(error).__name__}") from None
        if failed is not None:
            raise ChannelError(f"the SNMP manager of {self.name} gave no answer: {type(failed).__name__}")
        return Receipt("inform answered" if inform else "trap sent")

    async def _send(self, snmp: Any, message: Message, *, inform: bool) -> object:  # noqa: ANN401 - pysnmp has no types
        settings = self._settings
        oid = settings.oid
        engine = snmp.SnmpEngine()
        try:
            target = await snmp.UdpTransportTarget.create(
                (settings.host, settings.port or _PORT), timeout=max(1, settings.timeout_seconds // 2), retries=0
            )
            notification = snmp.NotificationType(snmp.ObjectIdentity(f"{oid}.0.1")).add_varbinds(
                *(
                    (
                        f"{oid}.1.{place}",
                        snmp.Integer32(value) if isinstance(value, int) else snmp.OctetString(value.encode()),
                    )
                    for place, value in enumerate(values(message), 1)
                )
            )
            failed, _status, _index, _objects = await snmp.send_notification(
                engine,
                self._user(snmp) if inform else snmp.CommunityData(self._community, mpModel=1),
                target,
                snmp.ContextData(),
                "inform" if inform else "trap",
                notification,
            )
        finally:
            engine.close_dispatcher()
        return failed

    def _user(self, snmp: Any) -> object:  # noqa: ANN401 - as above
        return snmp.UsmUserData(
            self._settings.username,
            self._key,
            self._privacy,
            authProtocol=snmp.USM_AUTH_HMAC192_SHA256 if self._key else snmp.USM_AUTH_NONE,
            privProtocol=snmp.USM_PRIV_CFB128_AES if self._privacy else snmp.USM_PRIV_NONE,
        )


def make(name: str, settings: ChannelSettings, environ: Mapping[str, str], _env: Environment) -> Snmp:
    """Make the channel."""
    return Snmp(name, settings, environ)
