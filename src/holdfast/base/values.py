"""Frozen dataclasses that cost little until one is made.

`dataclasses.dataclass` compiles six functions for each class, some 0.4 ms: two hundred classes were a quarter of what a
command spent before it did anything, and most commands make values of a few dozen. :func:`dataclass` is the same
decorator with the same result; it compiles each function when it is first called.

It does so for frozen classes with slots and no base; all others it leaves to the standard library.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass

    from _typeshed import DataclassInstance
else:

    def dataclass(given: type | None = None, /, **options: bool) -> object:
        """Do as `dataclasses.dataclass`, most of it later."""

        def wrap(cls: type) -> type:
            own = vars(cls)
            plain = type(cls) is type and cls.__bases__ == (object,) and not _COMPILED & own.keys()
            if plain and options == {"frozen": True, "slots": True}:
                return _value(cls)
            return dataclasses.dataclass(**options)(cls)

        return wrap if given is None else wrap(given)


__all__ = ["dataclass"]

_WANTED = {
    "__init__": {"frozen": True, "repr": False, "eq": False},
    "__repr__": {"init": False, "eq": False},
    "__eq__": {"init": False, "repr": False},
    "__hash__": {"init": False, "repr": False, "frozen": True},
}
_COMPILED = _WANTED.keys()
_OF_A_DICT = {"__dict__", "__weakref__"}


def _value(given: type) -> type:
    """Return the class with fields and slots, and with stand-ins for the functions that are compiled later."""
    content = {name: value for name, value in vars(given).items() if name not in _OF_A_DICT}
    described: Any = dataclasses.dataclass(init=False, repr=False, eq=False)(given)
    params = described.__dataclass_params__
    params.init = params.repr = params.eq = params.frozen = True
    names = tuple(field.name for field in dataclasses.fields(described))
    namespace = {name: value for name, value in vars(described).items() if name not in _OF_A_DICT and name not in names}
    made = type(given.__name__, (), namespace | {"__slots__": names})
    made.__qualname__ = given.__qualname__

    def compiled(name: str) -> Callable[..., object]:
        """Compile one function on a class like the given one, and take it over."""
        alike = type(given.__name__, (), dict(content))
        alike.__qualname__ = given.__qualname__
        model: type = dataclasses.dataclass(**_WANTED[name])(alike)
        function: Callable[..., object] = vars(model)[name]
        setattr(made, name, function)
        return function

    functions = {name: _stand_in(name, compiled) for name in _COMPILED}
    functions |= {f"__{verb}attr__": _refusal(made, names, verb) for verb in ("set", "del")}
    functions |= {"__getstate__": _state, "__setstate__": _set_state}
    for name, function in functions.items():
        if name not in content:
            setattr(made, name, function)
    return made


def _stand_in(name: str, compiled: Callable[[str], Callable[..., object]]) -> Callable[..., object]:
    """Return what compiles the real function at its first call, and answers with it."""

    def first(*args: object, **kwargs: object) -> object:
        return compiled(name)(*args, **kwargs)

    return first


def _refusal(made: type, names: tuple[str, ...], verb: str) -> Callable[..., None]:
    """Return the `__setattr__` or `__delattr__` of a frozen class."""
    act = {"set": "assign to", "del": "delete"}[verb]

    def refuse(self: object, name: str, *value: object) -> None:
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot {act} field {name!r}")
        getattr(super(made, self), f"__{verb}attr__")(name, *value)

    return refuse


def _state(self: DataclassInstance) -> list[object]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: DataclassInstance, state: list[object]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
