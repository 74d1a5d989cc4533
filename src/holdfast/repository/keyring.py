"""The keyring: every secret of a vault as one value (docs/format/keys.md). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.base.data_classes import CLASS_NAMES
from holdfast.base.environment import Environment
from holdfast.base.values import dataclass
from holdfast.errors import DamageError
from holdfast.repository.hpke import ClassPrivate, ClassPublic
from holdfast.repository.objects import b64, unb64
from holdfast.repository.roles import DEDUP, INDEX, PRIVATE, PUBLIC, WRITER

KEY_BYTES = 32
ID_BYTES = 16
OWN_LABEL = "vault"
ALL_KEYS = frozenset({PUBLIC, DEDUP, INDEX, PRIVATE})


@dataclass(frozen=True, slots=True)
class ClassGeneration:
    """One generation of a data class, as far as it is known: empty or None is what a role was not given, or what was destroyed."""

    id: int
    name: str
    generation: int
    public: ClassPublic | None
    dedup_key: bytes = field(repr=False)
    index_key: bytes = field(repr=False)
    private: ClassPrivate | None = field(default=None, repr=False)
    erased: bool = False
    """Its private half and its dedup key were destroyed. The index key stays: packs are pruned with it."""

    @classmethod
    def generate(cls, class_id: int, name: str, generation: int, env: Environment) -> Self:
        """Make a new generation."""
        private = ClassPrivate.generate()
        keys = env.random_bytes(KEY_BYTES), env.random_bytes(KEY_BYTES)
        return cls(class_id, name, generation, private.public(), *keys, private)

    def encode(self, keys: frozenset[str] = ALL_KEYS) -> dict[str, object]:
        """Return it as the keyring (everything) or a role's credential (only `keys` of it) holds it."""
        out: dict[str, object] = {"id": self.id, "name": self.name, "generation": self.generation}
        if PUBLIC in keys and self.public is not None:
            out[PUBLIC] = self.public.encode()
        if DEDUP in keys and self.dedup_key:
            out[DEDUP] = b64(self.dedup_key)
        if INDEX in keys:
            out[INDEX] = b64(self.index_key)
        if PRIVATE in keys and self.private is not None:
            out[PRIVATE] = self.private.encode()
        if self.erased:
            out["erased"] = True
        return out

    def erase(self) -> Self:
        """Return it without what reads content or proves it."""
        return replace(self, private=None, public=None, dedup_key=b"", erased=True)

    @classmethod
    def decode_all(cls, values: object) -> tuple[Self, ...]:
        """Read a list of them. `ValueError`, `KeyError` or `TypeError` if malformed."""
        return tuple(cls.decode(value) for value in _mappings(values))

    @classmethod
    def decode(cls, value: Mapping[str, object]) -> Self:
        """Read what :meth:`encode` wrote. `ValueError`, `KeyError` or `TypeError` if malformed."""
        private, public = value.get(PRIVATE), value.get(PUBLIC)
        return cls(
            id=_integer(value["id"]),
            name=str(value["name"]),
            generation=_integer(value["generation"]),
            public=None if public is None else ClassPublic.decode(_mapping(public)),
            dedup_key=_key(value[DEDUP]) if DEDUP in value else b"",
            index_key=_key(value[INDEX]),
            private=None if private is None else ClassPrivate.decode(_mapping(private)),
            erased=value.get("erased") is True,
        )


@dataclass(frozen=True, slots=True)
class WriterEntry:
    """The holder of a credential as the keyring lists it: a writer, or another role."""

    id: str
    label: str
    signing_public: bytes
    state_key: bytes = field(repr=False)
    classes: tuple[int, ...]
    role: str = WRITER

    def encode(self) -> dict[str, object]:
        """Return it as canonical JSON holds it."""
        return {
            "id": self.id,
            "label": self.label,
            "signing_public": b64(self.signing_public),
            "state_key": b64(self.state_key),
            "classes": list(self.classes),
            "role": self.role,
        }

    @classmethod
    def decode(cls, value: Mapping[str, object]) -> Self:
        """Read what :meth:`encode` wrote."""
        classes = tuple(_integer(c) for c in _items(value["classes"]))
        keys = _key(value["signing_public"]), _key(value["state_key"])
        return cls(str(value["id"]), str(value["label"]), *keys, classes, str(value.get("role", WRITER)))


@dataclass(frozen=True, slots=True)
class Keyring:
    """All secrets of a vault. `number` is the N of its name: an older keyring under a newer name is refused."""

    number: int
    root_signing: bytes = field(repr=False)
    classes: tuple[ClassGeneration, ...]
    writers: tuple[WriterEntry, ...]
    own_id: str
    own_seed: bytes = field(repr=False)
    epoch: int = 0
    """How often the root key was replaced before it sealed this."""

    @classmethod
    def generate(cls, env: Environment) -> Self:
        """Make the keyring of a new vault: the format's classes, and the writer that holders of the root key write as."""
        classes = tuple(ClassGeneration.generate(number, name, 0, env) for number, name in CLASS_NAMES.items())
        seed = env.random_bytes(KEY_BYTES)
        own = WriterEntry(env.random_id(), OWN_LABEL, public_of(seed), env.random_bytes(KEY_BYTES), tuple(CLASS_NAMES))
        return cls(0, env.random_bytes(KEY_BYTES), classes, (own,), own.id, seed)

    def encode(self) -> dict[str, object]:
        """Return it as canonical JSON holds it."""
        return {
            "number": self.number,
            "root_signing": b64(self.root_signing),
            "classes": [c.encode() for c in self.classes],
            "writers": [w.encode() for w in self.writers],
            "own_writer": {"id": self.own_id, "signing_seed": b64(self.own_seed)},
            "epoch": self.epoch,
        }

    @classmethod
    def decode(cls, value: Mapping[str, object]) -> Self:
        """Read what :meth:`encode` wrote. `DamageError` if malformed."""
        try:
            own = _mapping(value["own_writer"])
            return cls(
                number=_integer(value["number"]),
                root_signing=_key(value["root_signing"]),
                classes=ClassGeneration.decode_all(value["classes"]),
                writers=tuple(WriterEntry.decode(w) for w in _mappings(value["writers"])),
                own_id=str(own["id"]),
                own_seed=_key(own["signing_seed"]),
                epoch=_integer(value.get("epoch", 0)),
            )
        except (KeyError, TypeError, ValueError):
            raise DamageError("the keyring is malformed") from None

    @property
    def has_gaps(self) -> bool:
        """Whether a generation below the newest of its class is not in it: its keyring was lost when the next was made."""
        listed = {(c.id, c.generation) for c in self.classes}
        return any((c.id, c.generation - 1) not in listed for c in self.classes if c.generation)

    def with_lost(self, others: Iterable[ClassGeneration]) -> Self:
        """Return it with generations that another keyring holds and it does not; what it says of one, erased or not, counts."""
        listed = {(c.id, c.generation) for c in self.classes}
        found = tuple(c for c in others if (c.id, c.generation) not in listed and not c.erased)
        return replace(self, classes=tuple(sorted((*self.classes, *found), key=lambda c: (c.id, c.generation))))

    def state_key(self, writer: str) -> bytes | None:
        """Return a writer's state key."""
        return next((w.state_key for w in self.writers if w.id == writer), None)


def newest(classes: Iterable[ClassGeneration], class_id: int) -> ClassGeneration | None:
    """Return the generation of a class that is written to."""
    return max((c for c in classes if c.id == class_id), key=lambda c: c.generation, default=None)


def generation_of(classes: Iterable[ClassGeneration], class_id: int, generation: int) -> ClassGeneration | None:
    """Return one generation of a class."""
    return next((c for c in classes if (c.id, c.generation) == (class_id, generation)), None)


def public_of(seed: bytes) -> bytes:
    """Return the Ed25519 public key of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _key(value: object) -> bytes:
    key = unb64(str(value))
    if len(key) != KEY_BYTES:
        raise ValueError
    return key


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _items(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [_mapping(item) for item in _items(value)]
