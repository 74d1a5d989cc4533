"""Whom a channel trusts: the machine's authorities, or the site's own in an air-gapped network."""

from __future__ import annotations

import ssl

from holdfast.errors import ChannelError

__all__ = ["trust"]


def trust(ca_file: str) -> ssl.SSLContext:
    """Return a context that proves the server's certificate and name. `ChannelError` if the file cannot be read."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ChannelError(f"the file of trusted certificates cannot be read ({type(error).__name__})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
