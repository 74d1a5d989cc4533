"""One Python parser under atheris: `python fuzz/guided.py PARSER [libFuzzer options] [folders]`; see `long.py`."""

from __future__ import annotations

import sys

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: `pip install atheris` (Linux wheels for CPython 3.11 to 3.13)")

with atheris.instrument_imports(include=["holdfast"]):
    from holdfast.testing.parsers import PARSERS, feed

parser = sys.argv.pop(1)
if parser not in PARSERS:
    sys.exit(f"there is no parser {parser}; there are: {', '.join(PARSERS)}")
atheris.Setup(sys.argv, lambda data: feed(parser, data))
atheris.Fuzz()
