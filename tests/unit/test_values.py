"""The decorator of frozen values does as the standard library's, class by class, whatever is called first.

Each case builds the same class with both decorators and compares what can be seen of the two.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from holdfast.base import values


def made_by(decorator: Callable[..., Any]) -> Any:
    @decorator(frozen=True, slots=True)
    class Reading:
        """A value with every kind of field."""

        number: int
        text: str = "x"
        items: list[int] = dataclasses.field(default_factory=list)
        secret: str = dataclasses.field(default="s", repr=False, compare=False)
        known: ClassVar[int] = 7

        def __post_init__(self) -> None:
            if self.number < 0:
                raise ValueError("negative")

        @property
        def double(self) -> int:
            return 2 * self.number

    return Reading


@pytest.fixture
def pair() -> tuple[Any, Any]:
    return made_by(values.dataclass), made_by(dataclasses.dataclass)


@pytest.mark.parametrize(
    "look",
    [
        lambda cls: repr(cls(3)),
        lambda cls: repr(cls(number=3, text="y", items=[1])),
        lambda cls: cls(3) == cls(3),
        lambda cls: cls(3) == cls(4),
        lambda cls: cls(3, secret="a") == cls(3, secret="b"),
        lambda cls: cls(3) == 3,
        lambda cls: (cls(3).double, cls(3).text, cls(3).items, cls.known),
        lambda cls: cls.__match_args__,
        lambda cls: cls.__slots__,
        lambda cls: cls.__qualname__,
        lambda cls: cls.__doc__,
        lambda cls: repr(cls.__dataclass_params__),
        lambda cls: [(f.name, f.type, f.repr, f.compare) for f in dataclasses.fields(cls)],
        lambda cls: dataclasses.asdict(dataclasses.replace(cls(3), text="z")),
        lambda cls: copy.copy(cls(3, "y")) == cls(3, "y"),
        lambda cls: hasattr(cls(3), "__dict__"),
    ],
)
def test_what_can_be_seen_is_the_same(pair: tuple[Any, Any], look: Callable[[Any], object]) -> None:
    ours, standard = pair
    assert look(ours) == look(standard)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda cls: setattr(cls(3), "number", 4), dataclasses.FrozenInstanceError),
        (lambda cls: delattr(cls(3), "number"), dataclasses.FrozenInstanceError),
        (lambda cls: cls(), TypeError),
        (lambda cls: cls(1, wrong=2), TypeError),
        (lambda cls: cls(-1), ValueError),
        (lambda cls: hash(cls(1)), TypeError),
    ],
)
def test_what_is_refused_is_the_same(
    pair: tuple[Any, Any], act: Callable[[Any], object], error: type[Exception]
) -> None:
    said = []
    for cls in pair:
        with pytest.raises(error) as caught:
            act(cls)
        said.append(str(caught.value))
    assert said[0] == said[1]


@values.dataclass(frozen=True, slots=True)
class Point:
    """A value at module level, as pickling needs it."""

    x: int
    y: int = 0


@values.dataclass(frozen=True, slots=True)
class Named:
    """A value that a class of the standard library's derives from."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Counted(Named):
    """The derived class."""

    count: int


def test_no_other_attribute_can_be_set_or_deleted() -> None:
    """The standard library's own answer here is a `TypeError` about `super`, in the versions that we support."""
    point: Any = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'other'"):
        point.other = 1
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'other'"):
        del point.other


def test_hash_and_pickle() -> None:
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert pickle.loads(pickle.dumps(Point(5, 6))) == Point(5, 6)


def test_a_class_of_the_standard_library_may_derive_from_it() -> None:
    assert Counted("a", 2) == Counted("a", 2)
    assert repr(Named("a")) == "Named(name='a')"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Counted("a", 2).name = "b"  # type: ignore[misc]


class Base:
    """Any base at all."""


@pytest.mark.parametrize(
    "options", [{}, {"slots": True}, {"frozen": True}, {"frozen": True, "slots": True, "order": True}]
)
def test_other_options_are_the_standard_librarys(options: dict[str, bool]) -> None:
    cls = values.dataclass(**options)(type("Other", (), {"__annotations__": {"a": "int"}}))
    assert vars(cls)["__init__"].__code__.co_filename == "<string>"
    assert cls(1) == cls(1)


def test_a_class_with_a_base_or_a_function_of_its_own_is_the_standard_librarys() -> None:
    @values.dataclass(frozen=True, slots=True)
    class Derived(Base):
        a: int

    @values.dataclass(frozen=True, slots=True)
    class Own:
        a: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

        def __hash__(self) -> int:
            return 1

    assert Derived(1) == Derived(1)
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 1


def test_nothing_is_compiled_before_it_is_called() -> None:
    cls = made_by(values.dataclass)
    assert vars(cls)["__init__"].__code__.co_filename != "<string>"
    cls(1)
    assert vars(cls)["__init__"].__code__.co_filename == "<string>"


def test_the_bare_decorator() -> None:
    @values.dataclass
    class Plain:
        a: int = 1

    assert Plain().a == 1
