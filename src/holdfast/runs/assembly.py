"""The only place that constructs: stores, repositories, indexes, readers. Everything else is handed what it uses."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base import environment
from holdfast.base.defaults import PARITY_ROWS
from holdfast.base.values import dataclass
from holdfast.classes.policy import HOME
from holdfast.errors import LocalStateError, NotPermittedError, UsageError, VaultMissingError
from holdfast.governor.plan import GovernorPlan
from holdfast.reliability.retry import RetryPolicy
from holdfast.repository.credentials import KeyFile, Passphrase, RoleCredential, Shares, read_secret_file
from holdfast.repository.home_copy import require_current
from holdfast.repository.indexes import Indexes
from holdfast.repository.listing import envelope_infos, list_snapshots
from holdfast.repository.placed import PlacedStore
from holdfast.repository.repository import Repository
from holdfast.runs.home_copies import opened_or_healed, promote_copy
from holdfast.runs.trail import Trail
from holdfast.runs.watch import Watch
from holdfast.runs.witness import keyring_seen
from holdfast.stores.assembly import assemble, locate
from holdfast.stores.layers import spend

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from holdfast.base.environment import Environment
    from holdfast.config import StoreSettings
    from holdfast.reliability.breaker import BreakerPolicy
    from holdfast.repository.credentials import Credential, KeyService, Secret
    from holdfast.repository.indexes import IndexView
    from holdfast.repository.repository import ClassSecrets
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.options import Limits, PathLike
    from holdfast.runs.tiering import Tiers
    from holdfast.stores.layers import CountingStore
    from holdfast.stores.protocol import Data, Store

STATE_VARIABLE = "HOLDFAST_STATE"
DERIVED = frozenset({"cache", "index"})
"""Folders of the local state that cost only time when they are not there."""
SPARE_BYTES = 16 << 20
"""With less room than this on the disk of the local state, a run keeps what is derived elsewhere."""


class OpenVault:
    """What a run works with: an open repository, this host's state folder, and readers over them.

    The index is read once and kept until :meth:`refresh`; a backup's session reads its own.
    """

    def __init__(
        self,
        store: CountingStore,
        repository: Repository,
        env: Environment,
        limits: engine.Limits,
        tiers: Tiers | None = None,
        open_other: Callable[[str], CountingStore] | None = None,
        secret: Secret | None = None,
    ) -> None:
        """Use :func:`open_vault` or :func:`create_vault`. With `tiers` the home becomes one of several stores."""
        self.secret = secret
        """What opened the vault, if it was a key slot's: a rotation seals to it first."""
        self.home_url = store.url
        self.store: CountingStore | PlacedStore = store
        self.tiers = tiers
        self.repository = repository
        self.env = env
        self.limits = limits
        self.state_dir = state_root() / repository.vault_id.hex()
        repository.keyring_seen = keyring_seen(self.state_dir)
        self._spare: TemporaryDirectory[str] | None = None
        if tiers is not None and open_other is not None:
            from holdfast.runs.tiering import open_placed

            self.store = open_placed(
                store, tiers, state=self.folder("tiers"), vault_id=self.vault_id, env=env, open_store=open_other
            )
            repository.use_store(self.store)
        self.epoch = require_current(repository.home)
        self.indexes = Indexes(repository, self.folder("index"))
        self._view: IndexView | None = None
        self._covered: set[str] = set()
        """Snapshots that were there before the index was read: all they need is in it."""
        self._keyring: engine.KeyRing | None = None
        self._lock = threading.RLock()
        self.trail = Trail(self)
        self.governor: Callable[[], GovernorPlan] = GovernorPlan
        """How runs are governed, made anew for each run: its probes have connections."""
        self.parity_rows = PARITY_ROWS
        """Parity objects of each group of packs that exist once."""
        self.watch = Watch()
        """What backups watch for."""

    @property
    def vault_id(self) -> str:
        """The vault's id, 32 hex digits."""
        return self.repository.vault_id.hex()

    def folder(self, name: str) -> Path:
        """Return a folder of the local state, made if need be. `LocalStateError` if it cannot be."""
        path = (self._derived() if name in DERIVED else self.state_dir) / name
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LocalStateError(
                f"the state directory cannot be used ({os.strerror(error.errno or 0)})",
                next=f"make it writable, or set {STATE_VARIABLE} to a folder that is",
            ) from None
        return path

    def _derived(self) -> Path:
        """Return where derived state lies: with the rest, or, while that disk is full, in a folder of this process's own.

        A full disk is no reason to leave a hospital without its backup: the run takes longer, and leaves nothing behind.
        """
        if self._spare is None:
            with suppress(OSError):
                self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
                disk = os.statvfs(self.state_dir)
                if disk.f_bavail * disk.f_frsize < SPARE_BYTES:
                    self._spare = TemporaryDirectory(prefix="holdfast-", ignore_cleanup_errors=True)
        return self.state_dir if self._spare is None else Path(self._spare.name)

    def owns(self, path: bytes) -> bool:
        """Return whether a path lies in the vault's own store or in the local state."""
        real = os.path.realpath(path)
        folders = [os.path.realpath(folder).rstrip(b"/") for folder in self.own_folders()]
        return any(real == folder or real.startswith(folder + b"/") for folder in folders)

    def own_folders(self) -> list[bytes]:
        """Return the folders that are never backed up: the local state, and every store that is a folder."""
        return [os.fsencode(folder) for folder in (str(state_root()), *self.store_folders())]

    def store_folders(self) -> tuple[str, ...]:
        """Return the folder of every store that is one, the home's first, and the spool's."""
        store = self.store
        if isinstance(store, PlacedStore):
            return store.roots
        return (store.local_root,) if store.local_root is not None else ()

    @property
    def home_folder(self) -> str | None:
        """The folder of the vault's home; None where that is no folder."""
        store = self.store
        return (store.stores[HOME] if isinstance(store, PlacedStore) else store).local_root

    def index(self) -> engine.Index:
        """Return the index without excluded packs, for what writes and what judges; read at the first call."""
        return self._read_index().index

    def whole_index(self) -> engine.Index:
        """Return the index with excluded packs, for what reads and proves them."""
        return self._read_index().whole

    def _read_index(self, *snapshots: str) -> IndexView:
        """Return the index, reading it at the first call, and again when a snapshot given is newer than it."""
        with self._lock:
            if self._view is None or not self._covered.issuperset(snapshots):
                self._covered = {info.name.partition("/")[2] for info in self.store.list("snapshot/")}
                self._view = self.indexes.read()
            return self._view

    def refresh_index(self) -> engine.Index:
        """Read the index again: what other runs stored or pruned meanwhile counts from now on."""
        with self._lock:
            self._view = None
            return self.index()

    def snapshots(self) -> tuple[SnapshotInfo, ...]:
        """Return the committed snapshots that can be read, newest last."""
        return self.listing()[0]

    def envelopes(self) -> list[SnapshotInfo]:
        """Return the committed snapshots, newest last, without what is sealed to a class: no label, host, paths, tags."""
        return envelope_infos(self.repository)

    def listing(self) -> tuple[tuple[SnapshotInfo, ...], tuple[str, ...]]:
        """Return the committed snapshots, newest last, and the ids of those whose envelopes are damaged or missing."""
        found, problems = list_snapshots(self.repository)
        readable = {info.id for info in found}
        return found, tuple(problem.id for problem in problems if problem.id not in readable)

    def keyring(self) -> engine.KeyRing:
        """Return the content keys of all readable classes, as the engine takes them."""
        with self._lock:
            if self._keyring is None:
                keys = [class_keys(secrets) for secrets in self._readable()]
                self._keyring = engine.KeyRing(keys, self.repository.open_envelope)
            return self._keyring

    def keyring_or_none(self) -> engine.KeyRing | None:
        """Return the content keys, or None if the credential opens no content."""
        return self.keyring() if self._readable() else None

    def _readable(self) -> list[ClassSecrets]:
        return [
            secrets
            for secrets in self.repository.all_secrets()
            if self.repository.can_open(secrets.class_id, secrets.generation)
        ]

    def source(self) -> engine.PackSource:
        """Return where the engine reads packs: files if the store has any, else through the store."""
        root = self.store.local_root
        if root is not None:
            return engine.PackSource.local(root)
        return engine.PackSource.callback(self.store.get_range)

    def reader(self, *snapshots: str) -> engine.Reader:
        """Return a reader over an index that covers the snapshots. `NotPermittedError` with a writer's credential.

        It reads from every pack, known damage too: each segment proves itself, and one bad segment costs no other.
        """
        if not self._readable():
            raise NotPermittedError(
                "this credential can add to the vault and read nothing back",
                next="open the vault with its key file, passphrase or recovery kit",
            )
        return engine.Reader(self._read_index(*snapshots).whole, self.keyring(), self.source())

    def close(self) -> None:
        """Let go of keys, index and store."""
        with self._lock:
            self._view = None
            self._keyring = None
        self.store.close()
        if self._spare is not None:
            self._spare.cleanup()


def state_root() -> Path:
    """Return the folder of all local state: `HOLDFAST_STATE`, else the XDG state directory."""
    given = os.environ.get(STATE_VARIABLE)
    if given:
        return Path(given).absolute()
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state").absolute() / "holdfast"


def engine_index(view: IndexView) -> engine.Index:
    """Return a view's index as the engine's class."""
    return view.index


def set_limits(limits: engine.Limits, wanted: Limits | None) -> None:
    """Set the limits of what is no governed run; without any, there is no limit."""
    from holdfast.governor.budget import apply
    from holdfast.runs.options import usual_budget

    apply(limits, usual_budget(wanted))


def class_keys(secrets: ClassSecrets) -> engine.ClassKeys:
    """Return a class generation's keys in the engine's form."""
    return engine.ClassKeys(secrets.vault, secrets.class_id, secrets.generation, secrets.dedup_key, secrets.index_key)


@dataclass(frozen=True, slots=True)
class Resilience:
    """How stores are retried and left alone; what is not said is as the defaults."""

    policies: Mapping[str, RetryPolicy] | None = None
    breaker: BreakerPolicy | None = None


ONE_TRY = Resilience({kind: RetryPolicy(attempts=1) for kind in ("store-unreachable", "store-throttled")})
"""For a store that is only glanced at: one that is down is passed over at once."""


def open_store(
    url: str,
    env: Environment,
    limits: engine.Limits,
    stores: Mapping[str, StoreSettings] | None = None,
    how: Resilience | None = None,
) -> CountingStore:
    """Return the store of a URL, or of `store:NAME`, in its layers; its bytes go through the engine, under its limits."""
    how = how or Resilience()

    def write(path: str, data: Data) -> None:
        engine.put_file(path, data, limits)

    def pass_read(count: int) -> None:
        spend(limits.try_read, count, env)

    return assemble(
        url,
        env,
        write=write,
        pass_read=pass_read,
        stores=stores,
        limits=[limits],
        policies=how.policies,
        breaker=how.breaker,
    )


def open_local(url: PathLike, limits: engine.Limits) -> Store:
    """Return the bare store of a folder, which writes through the engine."""

    def write(path: str, data: Data) -> None:
        engine.put_file(path, data, limits)

    return locate(os.fsdecode(url), write=write)


def create_vault(
    url: PathLike,
    *,
    key_file: PathLike | None,
    passphrase: str | None,
    key_service: str | None = None,
    label: str,
    env: Environment | None,
    stores: Mapping[str, StoreSettings] | None = None,
    tiers: Tiers | None = None,
) -> OpenVault:
    """Make a vault and open it; see `Vault.create`."""
    if key_file is None and passphrase is None and key_service is None:
        raise UsageError(
            "a vault needs a secret that opens it", next="give --key-file FILE (it is made if it is not there)"
        )
    env = env or environment.system()
    limits = engine.Limits()
    store = open_store(os.fsdecode(url), env, limits, stores)
    secrets: list[Secret] = []
    if key_file is not None:
        secrets.append(_key_file_read_or_made(Path(os.fsdecode(key_file)), env))
    if passphrase is not None:
        secrets.append(Passphrase(passphrase))
    if key_service is not None:
        secrets.append(_service(key_service, env))
    store.create()
    repository = Repository.create(store, env, secrets=secrets, label=label)
    made = OpenVault(
        store, repository, env, limits, tiers, lambda place: open_store(place, env, limits, stores), secrets[0]
    )
    if isinstance(made.store, PlacedStore):
        for other in made.store.stores.values():
            other.create()
    return made


def _key_file_read_or_made(path: Path, env: Environment) -> KeyFile:
    """Return the key of an existing file, or make the file first: it is durable before anything is sealed with it."""
    if path.exists():
        return KeyFile.read(path)
    made = KeyFile.new(env)
    made.write(path)
    return made


def open_vault(
    url: PathLike,
    *,
    key_file: PathLike | None,
    passphrase: str | None,
    credential: PathLike | None,
    shares: Sequence[PathLike] = (),
    key_service: str | None = None,
    env: Environment | None,
    stores: Mapping[str, StoreSettings] | None = None,
    resilience: Resilience | None = None,
    tiers: Tiers | None = None,
    behind: Callable[[Store], Store] | None = None,
) -> OpenVault:
    """Open a vault by its store and one secret; see `Vault.open`. `behind` puts something before its home."""
    env = env or environment.system()
    secret = _one_secret(key_file, passphrase, credential, shares, key_service, env)
    limits = engine.Limits()
    store = open_store(os.fsdecode(url), env, limits, stores, resilience)
    if behind is not None:
        from holdfast.stores.layers import CountingStore

        store = CountingStore(behind(store))
    if not store.exists():
        raise VaultMissingError("there is no vault at this place")

    def other(place: str) -> CountingStore:
        return open_store(place, env, limits, stores, resilience)

    def glance(place: str) -> CountingStore:
        return open_store(place, env, limits, stores, ONE_TRY)

    repository = opened_or_healed(store, secret, env, tiers, glance)
    return OpenVault(
        store, repository, env, limits, tiers, other, None if isinstance(secret, RoleCredential) else secret
    )


def promote_home(
    url: PathLike,
    *,
    key_file: PathLike | None = None,
    passphrase: str | None = None,
    old: PathLike | None = None,
    stores: Mapping[str, StoreSettings] | None = None,
    env: Environment | None = None,
) -> int:
    """Make the store that holds the copy of a lost home the vault's home; return the vault's new epoch.

    From then on the old home is refused wherever this store is known; with `old`, its URL, also by who knows only it. What
    the old home had and the copy had not yet is lost with it. Needs a secret of the root; idempotent after a crash.
    `VaultMissingError` if the store holds no copy, `WrongKeyError`, `DamageError`.
    """
    env = env or environment.system()
    limits = engine.Limits()
    secret = _one_secret(key_file, passphrase, None, (), None, env)
    copy = open_store(os.fsdecode(url), env, limits, stores)
    former = open_store(os.fsdecode(old), env, limits, stores) if old is not None else None
    try:
        return promote_copy(copy, secret, env, former)
    finally:
        copy.close()
        if former is not None:
            former.close()


def _one_secret(
    key_file: PathLike | None,
    passphrase: str | None,
    credential: PathLike | None,
    shares: Sequence[PathLike],
    key_service: str | None,
    env: Environment,
) -> Credential:
    given = [secret for secret in (key_file, passphrase, credential, shares or None, key_service) if secret is not None]
    if len(given) != 1:
        raise UsageError(
            "a vault is opened with one secret: a key file, a passphrase, shares, a key service or a credential"
            + ("" if given else "; none was given"),
            next="give --key-file FILE, or set HOLDFAST_KEY_FILE",
        )
    if key_file is not None:
        return KeyFile.read(Path(os.fsdecode(key_file)))
    if credential is not None:
        return RoleCredential.read(Path(os.fsdecode(credential)))
    if shares:
        sheets = (read_secret_file(Path(os.fsdecode(path))).decode("ascii", "replace") for path in shares)
        return Shares(tuple(sheets))
    if key_service is not None:
        return _service(key_service, env)
    return Passphrase(passphrase or "")


def _service(uri: str, env: Environment) -> KeyService:
    """Return a key service by its URI. Imported when asked: few vaults have one."""
    from holdfast.repository.key_services import key_service

    return key_service(uri, env)
