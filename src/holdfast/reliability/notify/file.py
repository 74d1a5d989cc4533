"""A file that messages are appended to, one line of JSON each, durable before the receipt: the channel that needs no network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelError
from holdfast.reliability.notify.protocol import Message, Receipt

__all__ = ["AppendedFile", "make"]


class AppendedFile:
    """The file. It is made with mode 0640 if it is not there; rotating it is the site's business (it is opened each time)."""

    def __init__(self, name: str, settings: ChannelSettings) -> None:
        """Nothing is opened yet."""
        self.name = name
        self._path = settings.path

    def send(self, message: Message) -> Receipt:
        """Append it."""
        line = json.dumps(message.record(), ensure_ascii=False).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        try:
            descriptor = os.open(self._path, flags, 0o640)
            try:
                written = os.write(descriptor, line)
                if written != len(line):
                    raise ChannelError(f"the file of {self.name} took {written} of {len(line)} bytes")
                os.fsync(descriptor)
                end = os.lseek(descriptor, 0, os.SEEK_END)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ChannelError(f"the file of {self.name} cannot be written: {error.strerror}") from None
        return Receipt(f"byte {end}")


def make(name: str, settings: ChannelSettings, _environ: Mapping[str, str], _env: Environment) -> AppendedFile:
    """Make the channel."""
    return AppendedFile(name, settings)
