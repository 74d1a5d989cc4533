"""An open vault's repository: its home store, what the credential at hand opens, and the identity it writes as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.base.environment import Environment
from holdfast.base.values import dataclass
from holdfast.errors import (
    DamageError,
    ErasedError,
    KeyReplacedError,
    KeyringLostError,
    NotPermittedError,
    StoreRefusedError,
    UsageError,
    VaultExistsError,
    WrongKeyError,
)
from holdfast.repository import names, slots
from holdfast.repository.bodies import Slot, VaultHeader, WriterCertificate
from holdfast.repository.credentials import Credential, RoleCredential, Secret
from holdfast.repository.generations import require_known
from holdfast.repository.home import ROOT, Home, Signer, create
from holdfast.repository.hpke import (
    HPKE_RECIPIENT,
    RUN_KEY_BYTES,
    STATE_RECIPIENT,
    ClassPublic,
    envelope,
    open_envelope,
    run_key_info,
    state_recipient,
)
from holdfast.repository.keyring import KEY_BYTES, ClassGeneration, Keyring, newest, public_of
from holdfast.repository.listing import Problem, list_snapshots, read_part
from holdfast.repository.missing import is_withdrawn
from holdfast.repository.objects import KEYRING, b64, canonical, unb64
from holdfast.repository.opening import keyring_in, open_home, open_root, read_grant, replaced, require_newest
from holdfast.repository.roles import AUDITOR, NEEDED, ROOT_ROLE, WRITE, may
from holdfast.repository.slots import SplitSecret
from holdfast.repository.twins import keep_all
from holdfast.repository.types import SealedPart, SnapshotInfo
from holdfast.repository.wraps import LIVE, SLOT, WrapBody, pending, write_wrap
from holdfast.stores.protocol import Store

PROBE_THREADS = 8
PROBE_ROUNDS = 4
ROOT_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class ClassSecrets:
    """One class generation: what `_core.ClassKeys` is made of (`vault`, `class_id`, `generation`, `dedup_key`, `index_key`)."""

    vault: bytes
    class_id: int
    name: str
    generation: int
    dedup_key: bytes = field(repr=False)
    index_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunKey:
    """Fresh run keys of one class generation with their pack envelopes (`u16 recipients`, then each)."""

    class_id: int
    generation: int
    key: bytes = field(repr=False)
    envelope: bytes
    """For data and metadata packs: HPKE to the class."""
    map_key: bytes = field(repr=False)
    """Another key, for map packs: the writer itself can open those."""
    map_envelope: bytes
    """For map packs: HPKE to the class, and the key under the writer's state key."""


class Repository:
    """An open repository. Thread-safe: it holds keys and a store and no other state."""

    def __init__(
        self,
        home: Home,
        header: VaultHeader,
        *,
        classes: Sequence[ClassGeneration],
        writer: Signer,
        state_key: bytes,
        keyring: Keyring | None = None,
        root_key: bytes | None = None,
        certificate: WriterCertificate | None = None,
    ) -> None:
        """Use `create` or `open`."""
        self.home = home
        self.store = home.store
        self.env = home.env
        self.vault_id = home.vault_id
        self.label = header.label
        self.identity = writer
        """Who this is: the signature under whatever it says."""
        self.writer_id = writer.name
        self.state_key = state_key
        self.keyring = keyring
        self.certificate = certificate
        self.role = certificate.role if certificate is not None else ROOT_ROLE
        self.keyring_seen = -1
        """The number of the highest keyring that this host ever opened, as far as whoever opened this knows."""
        self._classes = tuple(classes)
        self._root_key = root_key
        self._root = Signer(ROOT, Ed25519PrivateKey.from_private_bytes(keyring.root_signing)) if keyring else None

    def use_store(self, store: Store) -> None:
        """Go on with another view of the same stores: the home with the stores of packs beside it."""
        self.store = self.home.store = store

    @property
    def is_root(self) -> bool:
        """Whether the root key is at hand: everything but a role's credential."""
        return self._root is not None

    @property
    def root(self) -> Signer:
        """The root's signature. `NotPermittedError` without the root key."""
        if self._root is None:
            raise NotPermittedError(f"this needs the vault's root key; a {self.role}'s credential does not have it")
        return self._root

    def may(self, power: str) -> bool:
        """Return whether what this signs is worth something for what a power says."""
        return self._root is not None or may(self.role, power)

    def signer(self, power: str) -> Signer:
        """Return a signature that is worth something for a power: root's, or its own. `NotPermittedError`."""
        if self._root is not None:
            return self._root
        return self._own(power)

    @property
    def signature(self) -> Signer:
        """Root's signature if it is at hand, else its own: for what is worth what its signer is worth."""
        return self._root or self.identity

    @property
    def writer(self) -> Signer:
        """The signature under sessions and snapshots. `NotPermittedError` if the role is another than a writer's."""
        return self._own(WRITE) if self._root is None else self.identity

    def _own(self, power: str) -> Signer:
        if not may(self.role, power):
            raise NotPermittedError(
                f"this needs {NEEDED[power]}; the credential at hand is a {self.role}'s", next="use such a key."
            )
        return self.identity

    @property
    def root_key(self) -> bytes:
        """The root key. `NotPermittedError` without it."""
        if self._root_key is None:
            raise NotPermittedError(f"this needs the vault's root key; a {self.role}'s credential does not have it")
        return self._root_key

    @property
    def group(self) -> str:
        """The group of writers that this one deduplicates with: by its certificate; its own id if it is alone."""
        certificate = self.home.certificate(self.writer_id)
        return certificate.group if certificate is not None and certificate.group else self.writer_id

    @classmethod
    def create(
        cls, store: Store, env: Environment, *, secrets: Sequence[Secret | SplitSecret], label: str = ""
    ) -> Self:
        """Make a vault: keyring, slots and certificate first, the header last. A crash leaves a whole vault or none.

        `VaultExistsError`; `StoreRefusedError` if the store loses the create-if-absent race: it cannot be a home.
        """
        if not secrets:
            raise UsageError("a vault needs at least one key", next="give a key file or a passphrase.")
        store.create()
        if store.size(names.VAULT) is not None:
            raise VaultExistsError("there is a vault at this place already")
        if store.size(names.twin(names.VAULT)) is not None:
            raise VaultExistsError(
                "there is a vault at this place already, whose header is lost",
                next="open it: its header's twin counts; `holdfast repair` puts the header back.",
            )
        probe_home(store, env)
        vault, root_key, keyring = env.random_bytes(16), env.random_bytes(ROOT_KEY_BYTES), Keyring.generate(env)
        root_public = public_of(keyring.root_signing)
        made = [(secret, *slots.make(secret, root_public, vault, env)) for secret in secrets]
        home = Home(store, vault, root_public, env)
        header = VaultHeader(1, root_public, env.now(), label)
        repository = cls._of_keyring(home, header, keyring, root_key)
        number = max(home.numbers("keyring"), default=-1) + 1
        body = canonical(keyring.encode() | {"number": number})
        root = repository.root
        home.put_sealed(names.numbered("keyring", number), home.head(KEYRING, 0, 0, root), root_key, body, root)
        repository.put_certificate(keyring.own_id)
        for secret, slot, public in made:
            repository.put_slot(slot, public, method=slots.method_of(secret), label="", making=True)
        data = home.encode(names.VAULT, header, None)
        if not create(store, names.VAULT, data):
            raise VaultExistsError("another process made a vault at this place at the same moment")
        home.keep_twin(names.VAULT, data)
        return repository

    @classmethod
    def open(cls, store: Store, credential: Credential, env: Environment) -> Self:
        """Open a vault. `VaultMissingError`, `WrongKeyError`, `DamageError`, `VersionError`, `NotPermittedError` (revoked)."""
        header, home = open_home(store, env)
        if isinstance(credential, RoleCredential):
            return cls._of_credential(home, header, credential)
        opened, keyring = open_root(home, credential)
        if public_of(keyring.root_signing) != header.root_public or opened.root_public not in {b"", header.root_public}:
            raise DamageError("the vault's header names another root than its keyring: it was exchanged")
        return cls._of_keyring(home, header, keyring, opened.root_key)

    @classmethod
    def without_key(cls, home: Home, header: VaultHeader) -> Self:
        """Return the vault as whoever has no secret sees it: it opens nothing, and what it signs is worth nothing."""
        nobody = Signer("", Ed25519PrivateKey.from_private_bytes(home.env.random_bytes(KEY_BYTES)))
        made = cls(home, header, classes=(), writer=nobody, state_key=b"")
        made.role = AUDITOR
        return made

    @classmethod
    def _of_keyring(cls, home: Home, header: VaultHeader, keyring: Keyring, root_key: bytes) -> Self:
        state_key = keyring.state_key(keyring.own_id)
        if state_key is None:
            raise DamageError("the keyring lacks its own writer")
        writer = Signer(keyring.own_id, Ed25519PrivateKey.from_private_bytes(keyring.own_seed))
        return cls(
            home,
            header,
            classes=keyring.classes,
            writer=writer,
            state_key=state_key,
            keyring=keyring,
            root_key=root_key,
        )

    @classmethod
    def _of_credential(cls, home: Home, header: VaultHeader, credential: RoleCredential) -> Self:
        body = credential.body
        if credential.vault != home.vault or body.get("root_public") != b64(header.root_public):
            raise WrongKeyError("the credential belongs to another vault")
        certificate = home.certificate(credential.id, fresh=True)
        if certificate is None:
            raise NotPermittedError("the vault has no certificate for this credential", next="have a new one issued.")
        if certificate.revoked or is_withdrawn(home, credential.id):
            raise NotPermittedError(
                f"this {certificate.role} was revoked", next="have a new credential issued, or enrol the host again."
            )
        if certificate.expires is not None and certificate.expires <= home.env.now():
            raise NotPermittedError(
                f"this {certificate.role}'s credential expired on {certificate.expires:%Y-%m-%d}",
                next="have a new one issued: `holdfast key issue`.",
            )
        try:
            listed = body["classes"]
            classes = ClassGeneration.decode_all(listed)
            seed, state_key = unb64(str(body["signing_seed"])), unb64(str(body["state_key"]))
            public = public_of(seed)
        except (KeyError, TypeError, ValueError):
            raise WrongKeyError("the credential is damaged") from None
        if certificate.joining or public != certificate.signing_public:
            raise replaced(certificate, seed)
        writer = Signer(credential.id, Ed25519PrivateKey.from_private_bytes(seed))
        granted = read_grant(home, credential.id, state_key) or classes
        return cls(home, header, classes=granted, writer=writer, state_key=state_key, certificate=certificate)

    def keyring_number(self, name: str) -> int:
        """Return which keyring an object, or a twin, is. `NotPermittedError` without the root key, `DamageError`, `VersionError`."""
        return keyring_in(self.home, names.untwinned(name), self.store.get(name), self.root_key).number

    @property
    def classes(self) -> dict[int, str]:
        """Ids and names of the classes known to the credential."""
        return {c.id: c.name for c in self._classes}

    def class_id(self, name: str) -> int:
        """Return a class's id by its name. `UsageError` if there is none."""
        for number, known in self.classes.items():
            if known == name:
                return number
        raise UsageError(f"there is no data class {name!r} in this vault or credential")

    def generation(self, class_id: int, generation: int | None = None) -> ClassGeneration | None:
        """Return a class generation, the one written to by default; None if it is not known here."""
        if generation is None:
            return newest(self._classes, class_id)
        return next((c for c in self._classes if (c.id, c.generation) == (class_id, generation)), None)

    def _known(self, class_id: int, generation: int | None = None) -> ClassGeneration:
        found = self.generation(class_id, generation)
        if found is None:
            raise self.lacks(class_id, generation)
        return found

    def lacks(self, class_id: int, generation: int | None = None) -> NotPermittedError:
        """Return the error for keys of a class that are not at hand: with the root key at hand they are lost."""
        if self.keyring is not None and class_id in self.classes:
            return KeyringLostError(
                f"the keys of generation {generation} of data class {self.classes[class_id]} are in no keyring that can be read"
            )
        return NotPermittedError(f"the keys of data class {self.classes.get(class_id, class_id)} are not at hand")

    def can_read(self, class_id: int) -> bool:
        """Return whether content of the class can be opened (never with a writer's credential)."""
        return any(c.private is not None for c in self._classes if c.id == class_id)

    def can_open(self, class_id: int, generation: int) -> bool:
        """Return whether content of a class generation can be opened."""
        known = self.generation(class_id, generation)
        return known is not None and known.private is not None

    def generations(self) -> tuple[ClassGeneration, ...]:
        """Return every class generation known, with as much of each as is known."""
        return self._classes

    def secrets(self, class_id: int, generation: int | None = None) -> ClassSecrets:
        """Return a class generation, the one written to by default. `NotPermittedError` if it is not at hand."""
        return self._secrets(self._known(class_id, generation))

    def all_secrets(self) -> tuple[ClassSecrets, ...]:
        """Return every class generation known."""
        return tuple(self._secrets(c) for c in self._classes)

    def _secrets(self, known: ClassGeneration) -> ClassSecrets:
        # Who holds no dedup key computes no id: the engine wants a key all the same, to repack what it cannot read.
        dedup = known.dedup_key or bytes(KEY_BYTES)
        return ClassSecrets(self.vault_id, known.id, known.name, known.generation, dedup, known.index_key)

    def new_run_key(self, class_id: int) -> RunKey:
        """Make run keys for the generation written to."""
        known = self._known(class_id)
        public = self.public_of(known)
        info = run_key_info(self.vault_id, class_id, known.generation)
        key, map_key = self.env.random_bytes(RUN_KEY_BYTES), self.env.random_bytes(RUN_KEY_BYTES)
        own = state_recipient(bytes.fromhex(self.writer_id), self.state_key, self.env.random_bytes(12), map_key, info)
        return RunKey(
            class_id,
            known.generation,
            key=key,
            envelope=envelope([(HPKE_RECIPIENT, public.seal(key, info))]),
            map_key=map_key,
            map_envelope=envelope([(HPKE_RECIPIENT, public.seal(map_key, info)), (STATE_RECIPIENT, own)]),
        )

    def public_of(self, known: ClassGeneration) -> ClassPublic:
        """Return what new content is sealed to. `NotPermittedError`; `KeyReplacedError` if root demands newer keys than these."""
        if known.public is None:
            raise NotPermittedError(f"a {self.role}'s credential holds no key to store data class {known.name} with")
        for demanded in self.certificate.newest if self.certificate is not None else ():
            if demanded.class_ == known.id and known.generation < demanded.generation:
                raise KeyReplacedError(
                    f"the keys of data class {known.name} were replaced, and this host has not got the new ones"
                )
        return known.public

    def open_envelope(self, class_id: int, generation: int, data: bytes) -> bytes:
        """Return the run key in a pack's envelope: the callback of `_core.KeyRing`. `NotPermittedError`, `DamageError`."""
        known = self._known(class_id, generation)
        if known.erased:
            raise ErasedError(f"generation {generation} of data class {known.name} was destroyed")
        info = run_key_info(self.vault_id, class_id, generation)
        return open_envelope(data, info, known.private, bytes.fromhex(self.writer_id), self.state_key)

    def snapshots(self) -> tuple[SnapshotInfo, ...]:
        """Return the committed snapshots, newest last (by admission, then finish)."""
        return list_snapshots(self)[0]

    def snapshot_problems(self) -> tuple[Problem, ...]:
        """Return the snapshots that were committed and cannot be read as they were written."""
        return list_snapshots(self)[1]

    def part(self, snapshot: SnapshotInfo, class_id: int) -> SealedPart:
        """Open one sealed part. `NotPermittedError`, `DamageError`, `ObjectMissingError`."""
        return read_part(self, snapshot, class_id)

    def put_certificate(self, writer: str, *, certificate: WriterCertificate | None = None) -> None:
        """Certify a writer of the keyring, or store the given certificate."""
        if certificate is None:
            entry = next(w for w in self.keyring.writers if w.id == writer) if self.keyring else None
            if entry is None:
                raise NotPermittedError("only the root key certifies writers")
            certificate = WriterCertificate(
                entry.id, entry.label, entry.signing_public, entry.classes, entry.id, revoked=False, distrust_runs=()
            )
        self.home.append(f"writer/{writer}", certificate, self.root)

    def put_slot(
        self, slot: Slot, public: ClassPublic, *, method: str, label: str, entry: str = "", making: bool = False
    ) -> str:
        """Seal the root key into a slot and store it, the ledger first, and once more when it is stored; return the entry's id.

        `making`: of a vault that is being made, whose header comes last: once is enough.
        """
        epoch = self.require_keyring().epoch
        entry, slot_id = entry or self.env.random_id(), self.env.random_id()
        body = WrapBody(
            SLOT, ROOT_ROLE, method, label, self.env.now(), LIVE, slot=slot_id, epoch=epoch,
            mlkem=public.mlkem, p384=public.p384, shape=(slot,),
        )  # fmt: skip
        write_wrap(self.home, self.root, entry, body if making else pending(body))
        self.store_slot(slot_id, slots.seal(slot, public, self.root_key, epoch, self.vault_id))
        if not making:
            write_wrap(self.home, self.root, entry, body)
        return entry

    def require_keyring(self) -> Keyring:
        """Return the keyring. `NotPermittedError` without the root key."""
        if self.keyring is None:
            raise NotPermittedError(f"this needs the vault's root key; a {self.role}'s credential does not have it")
        return self.keyring

    def adopt(self, keyring: Keyring, root_key: bytes | None = None) -> None:
        """Go on with a keyring that was just put, under another root key if one is given."""
        self.keyring = keyring
        self._classes = keyring.classes
        self._root_key = root_key or self._root_key

    def require_newest(self, *, given_up: bool = False) -> None:
        """Refuse to change keys while another root key is on its way in, or the newest keyring is lost.

        `given_up`: what the lost one held is given up. `KeyRotationError`, `KeyringLostError`.
        """
        require_newest(self.home, self.require_keyring(), self.root_key)
        if not given_up:
            require_known(self.home, self.require_keyring(), self.keyring_seen)

    def store_slot(self, slot_id: str, slot: Slot) -> None:
        """Store a slot object."""
        name = f"key/{slot_id}"
        data = self.home.encode(name, slot, None)
        self.store.put(name, data)
        self.home.keep_twin(name, data)

    def add_slot(self, secret: Secret | SplitSecret, *, label: str = "", method: str = "") -> str:
        """Wrap the root key once more; return the id of its entry in the ledger. `KeyRotationError` during a rotation."""
        root_public = public_of(self.require_keyring().root_signing)
        self.require_newest()
        slot, public = slots.make(secret, root_public, self.vault_id, self.env)
        keep_all(self.home)
        return self.put_slot(slot, public, method=method or slots.method_of(secret), label=label)


def probe_home(store: Store, env: Environment) -> None:
    """Race `put_new` on one name. `StoreRefusedError` unless exactly one call wins and all read the winner's bytes."""
    from concurrent.futures import ThreadPoolExecutor

    for _ in range(PROBE_ROUNDS):
        name = f"probe/{env.random_id()}"
        offers = [env.random_bytes(32) for _ in range(PROBE_THREADS)]

        def race(offer: bytes, name: str = name) -> tuple[bool, bytes]:
            return store.put_new(name, offer), store.get(name)

        with ThreadPoolExecutor(PROBE_THREADS) as threads:
            results = list(threads.map(race, offers))
        winners = [offer for offer, (won, _) in zip(offers, results, strict=True) if won]
        listed = [info.name for info in store.list("probe/")]
        sound = len(winners) == 1 and all(seen == winners[0] for _, seen in results) and name in listed
        store.delete(name)
        if not sound:
            raise StoreRefusedError(
                "the store does not create an object atomically if it is absent: it cannot be a vault's home",
                safe="no vault was made.",
                next="choose another store as home; this one can still hold copies of packs.",
            )
