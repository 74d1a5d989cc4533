"""JSON of unknown origin: a value, or `ValueError` and nothing else.

The library's own reader lets four things through that break a caller later or elsewhere: nesting that ends in `RecursionError`,
`NaN` and numbers beyond any float (which no integer can be made of), half surrogates that no encoding takes, and integers of so
many digits that reading them back takes minutes.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

__all__ = ["read_json"]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def read_json(data: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the value of a JSON text. `ValueError` for anything that is none, and for what no JSON text can be made of again."""
    try:
        value = json.loads(data, parse_constant=_refuse, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None
    return value
