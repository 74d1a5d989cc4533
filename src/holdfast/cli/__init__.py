"""The command line: parse, call the library, print. Nothing is decided here.

`main` is the console script. Commands live one subject per module and are imported when they are called, so that
`holdfast --help` answers within 150 ms.
"""

from __future__ import annotations

from holdfast.cli.main import main

__all__ = ["main"]
