"""What a stolen writer's credential is tried for. Each function carries out one attack, and fails if it succeeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.attacks.scene import FILES, NOW, Scene, refused

import holdfast
from holdfast.errors import RevokedError
from holdfast.repository import forget, names, rotation, writers
from holdfast.repository.access import AccessPolicy, put_policy, read_policy
from holdfast.repository.bodies import (
    COMMIT,
    REVOKED,
    ClosedBody,
    CommittedBody,
    CondemnBody,
    DamagedBody,
    DecisionBody,
    EnvelopeBody,
    ForgottenBody,
    HoldBody,
    PlanBody,
    SessionBody,
    WriterCertificate,
)
from holdfast.repository.check import check
from holdfast.repository.credentials import CREDENTIAL_FORMAT, RoleCredential
from holdfast.repository.decisions import Verdict, decide, outcome
from holdfast.repository.holds import read_hold, set_hold
from holdfast.repository.indexes import Indexes
from holdfast.repository.leftovers import unreadable
from holdfast.repository.objects import INDEX_RUN, seal
from holdfast.repository.packs import list_packs
from holdfast.repository.prune import prune
from holdfast.repository.rebuild import apply, plan
from holdfast.repository.records import encode_run
from holdfast.repository.repository import Repository
from holdfast.repository.retention import RetentionPolicy
from holdfast.repository.rounds import read_damaged, read_rounds
from holdfast.repository.twin_repair import mend_twins
from holdfast.repository.wraps import newest_word
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.sweep.ground import Ground, ground

DAMAGE = {"damage", "object-missing"}


def stolen(place: Ground) -> Path:
    path = place.live / "stolen"
    with place.open() as vault:
        path.write_bytes(vault.enroll_writer("stolen"))
    path.chmod(0o600)
    return path


def read_with_a_credential(_folder: Path) -> None:
    with ground() as place:
        place.create()
        place.write("phi/a")
        with place.open() as vault:
            place.backup(vault)
        credential = stolen(place)
        with holdfast.Vault.open(place.url, credential=credential, env=place.env) as thief:
            thief.backup([place.source], label="own")
            for snapshot in thief.snapshots():
                assert refused(lambda snapshot=snapshot: snapshot.restore(place.live / "out")) == "not-permitted"
                assert refused(lambda snapshot=snapshot: list(snapshot.walk())) == "not-permitted"
            assert not (place.live / "out").exists() or not any((place.live / "out").rglob("a"))


def open_its_own_pack(folder: Path) -> None:
    scene = Scene(folder)
    key = scene.thief.repository.new_run_key(1)
    assert refused(lambda: scene.thief.repository.open_envelope(1, 0, key.envelope)) == "not-permitted"
    info = scene.thief.backup({"own": 1})
    assert refused(lambda: scene.thief.repository.part(info, 1)) == "not-permitted"
    assert refused(lambda: scene.thief.repository.part(scene.first, 1)) == "not-permitted"


def forget_with_a_credential(folder: Path) -> None:
    scene = Scene(folder)
    thief = scene.thief.repository
    for act in (
        lambda: forget.forget(thief, scene.first.id, reason="ransom"),
        lambda: forget.apply(thief, forget.plan(thief, RetentionPolicy(last=1))),
        lambda: prune(thief, NOW, FakeEngine()),
        lambda: writers.enrol(thief, "friend"),
        lambda: writers.revoke(thief, scene.victim.repository.writer_id),
        lambda: set_hold(thief.home, scene.first.id, thief.root, held=False, reason=""),
        lambda: put_policy(thief, AccessPolicy()),
        lambda: thief.add_slot(scene.key),
    ):
        assert refused(act) == "not-permitted"
    scene.all_is_well()


def forged_tombstone(folder: Path) -> None:
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    name = f"forgotten/{scene.first.id}"
    scene.plant(name, home.encode(name, ForgottenBody("gone", ""), signer))
    assert scene.first.id in {s.id for s in scene.root.snapshots()}
    assert prune(scene.root, NOW, FakeEngine()).packs_deleted == 0
    scene.all_is_well()


def squatted_tombstone(folder: Path) -> None:
    scene = Scene(folder)
    scene.plant(f"forgotten/{scene.first.id}", b"squat")
    scene.all_is_well()
    second = scene.victim.backup(FILES | {"f0": 2})
    forget.forget(scene.root, scene.first.id, reason="retention")
    del scene.victim.acknowledged[scene.first.id]
    assert [s.id for s in scene.root.snapshots()] == [second.id]
    scene.all_is_well()


def planted_content(folder: Path) -> None:
    """The thief knows what the victim will store: it stores that first, and spoils it. On the real engine."""
    del folder
    with ground() as place:
        place.create()
        known = place.write("known/outbreak.hl7")
        credential = stolen(place)
        with holdfast.Vault.open(place.url, credential=credential, env=place.env) as thief:
            thief.backup([known], label="bait")
        packs = [name for name in place.stores["home"].objects if name.startswith("data/")]
        assert packs
        for name in packs:
            place.stores["home"].objects[name] = b"spoilt"
        with place.open() as vault:
            result = place.backup(vault)
            assert result.stats.new_bytes >= known.stat().st_size, "it was taken for stored"
            assert place.restored(vault, result.snapshot.id) == place.content()


def forged_index_run(folder: Path) -> None:
    scene = Scene(folder)
    victim, thief = scene.victim.repository, scene.thief.repository
    known = thief.generation(1)
    assert known is not None
    forged = replace(thief.writer, name=victim.writer_id)  # the victim's name, the thief's key
    payload = encode_run([scene.thief._pack(2).record])
    head = thief.home.head(INDEX_RUN, 1, 0, forged)
    data = seal(head, known.index_key, payload, thief.writer.key)
    run = names_of(data)
    scene.plant(f"index/{run}", data)
    scene.plant(f"index/{'0' * 64}", data)
    view = Indexes(victim, folder / "fresh", FakeEngine()).read()
    assert set(view.untrusted) == {run, "0" * 64}
    scene.victim.backup(FILES | {"f0": 2})
    assert {"frame", "index"} <= {found.kind for found in check(scene.root).findings}
    with_session = scene.thief.begin()
    assert prune(scene.root, NOW, FakeEngine()).packs_deleted == 0, "it holds up no prune while somebody backs up"
    with_session.abandon()
    prune(scene.root, NOW, FakeEngine())
    assert not {f"index/{run}", f"index/{'0' * 64}"} & scene.store.objects.keys(), "and is gone when nobody does"
    assert check(scene.root).problems == ()
    scene.all_is_well()


def names_of(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def squatted_decision(folder: Path) -> None:
    scene = Scene(folder)
    session = scene.victim.begin()
    where = scene.victim.store(session, FILES | {"f0": 2})
    thief = scene.thief.repository
    for slot, data in enumerate((b"squat", decision(scene, session.id, 1, COMMIT), b"")):
        scene.plant(names.numbered("decision", session.id, slot), data)
    assert thief.writer_id != scene.victim.repository.writer_id
    info = scene.victim.commit(session, where)
    assert info.id in {s.id for s in scene.root.snapshots()}
    scene.all_is_well()


def decision(scene: Scene, session: str, slot: int, verdict: str) -> bytes:
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    return home.encode(names.numbered("decision", session, slot), DecisionBody(verdict, "0" * 64), signer)


def forged_copy_of_a_decision(folder: Path) -> None:
    """A copy is believed for the signature within it: no session becomes a snapshot by it that its writer did not commit."""
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    session = scene.victim.begin()
    where = scene.victim.store(session, FILES | {"f1": 2})
    forged = decision(scene, session.id, 0, COMMIT)
    body = CommittedBody(0, forged)
    scene.plant(f"committed/{session.id}", home.encode(f"committed/{session.id}", body, signer))
    assert outcome(home, session.id, scene.victim.repository.writer_id).verdict is Verdict.OPEN
    assert {s.id for s in scene.root.snapshots()} == {scene.first.id}
    info = scene.victim.commit(session, where)
    assert any("copy of the decision" in problem for problem in check(scene.root).problems)
    prune(scene.root, NOW, FakeEngine())
    assert not check(scene.root).problems
    # Its own session, revoked: the revocation stands, whatever copy it keeps.
    session = scene.thief.begin()
    own = decision(scene, session.id, 0, COMMIT)
    decide(home, session.id, scene.thief.repository.writer_id, DecisionBody(REVOKED, ""), scene.root.root)
    scene.plant(f"committed/{session.id}", home.encode(f"committed/{session.id}", CommittedBody(0, own), signer))
    assert outcome(home, session.id, scene.thief.repository.writer_id).verdict is Verdict.REVOKED
    assert {s.id for s in scene.root.snapshots()} == {scene.first.id, info.id}
    scene.all_is_well()


def forged_revocation(folder: Path) -> None:
    scene = Scene(folder)
    session = scene.victim.begin()
    where = scene.victim.store(session, FILES | {"f1": 2})
    scene.plant(names.numbered("decision", session.id, 0), decision(scene, session.id, 0, REVOKED))
    scene.victim.commit(session, where)
    scene.all_is_well()


def forged_prune_round(folder: Path) -> None:
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    packs = tuple(sorted(list_packs(scene.root)[0]))
    bodies = (
        ("condemn", CondemnBody(packs, ())),
        ("plan", PlanBody(packs, scene.env.now())),
        ("closed", ClosedBody(0)),
    )
    for kind, body in bodies:
        name = names.numbered(kind, 0)
        scene.plant(name, home.encode(name, body, signer))
    assert read_rounds(scene.root.home).rounds == ()
    assert prune(scene.root, NOW, FakeEngine()).packs_deleted == 0
    before = set(list_packs(scene.root)[0])
    scene.victim.backup(FILES)
    assert set(list_packs(scene.root)[0]) == before, "a forged list made the victim store everything again"
    scene.all_is_well()


def forged_damage_list(folder: Path) -> None:
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    body = DamagedBody(tuple(sorted(list_packs(scene.root)[0])))
    name = names.numbered("damaged", 0)
    scene.plant(name, home.encode(name, body, signer))
    assert read_damaged(scene.root.home) == frozenset()
    scene.all_is_well()


def forged_certificate(folder: Path) -> None:
    scene = Scene(folder)
    thief, friend = scene.thief.repository, "99" * 16
    body = scene.credentials[1].body
    certificate = thief.home.certificate(thief.writer_id)
    assert certificate is not None
    forged = WriterCertificate(
        friend, "friend", certificate.signing_public, (1,), friend, revoked=False, distrust_runs=()
    )
    name = f"writer/{friend}/00000000"
    scene.plant(name, thief.home.encode(name, forged, thief.writer))
    credential = RoleCredential(
        thief.home.vault, friend, "writer", {**body, "writer": friend, "format": CREDENTIAL_FORMAT}
    )
    assert refused(lambda: Repository.open(scene.store, credential, scene.env)) == "not-permitted"
    assert scene.root.home.certificate(friend) is None


def certified_by_itself(folder: Path) -> None:
    """Whoever reads anything of the thief's looks up its certificate, which would have to be looked up for itself."""
    scene = Scene(folder)
    thief = scene.thief.repository
    own = scene.root.home.certificate(thief.writer_id)
    assert own is not None
    name = f"writer/{thief.writer_id}/00000001"
    scene.plant(name, thief.home.encode(name, replace(own, role="pruner"), thief.identity))
    scene.thief.backup({"t": 1})
    fresh = Repository.open(scene.store, scene.key, scene.env)
    found = fresh.home.certificate(thief.writer_id)
    assert found is not None
    assert found.role == "writer"
    assert name in {each.object for each in check(fresh).findings}
    writers.revoke(fresh, thief.writer_id)
    assert refused(lambda: Repository.open(scene.store, scene.credentials[1], scene.env)) == "not-permitted"
    scene.all_is_well()


def planted_twins(folder: Path) -> None:
    """Of what root is going to put, and of what nobody put: nothing is believed, and nobody is kept from anything."""
    scene = Scene(folder)
    thief = scene.thief.repository
    number = len(scene.names("keyring/"))
    own = scene.root.home.certificate(thief.writer_id)
    assert own is not None
    revocation = f"writer/{thief.writer_id}/00000001"
    scene.plant(f"twin/{revocation}", thief.home.encode(revocation, own, thief.identity))
    scene.plant(f"twin/keyring/{number + 1:08d}", scene.store.get("keyring/00000000"))
    scene.plant(f"twin/key/{'0' * 32}", scene.store.get(scene.names("key/")[0]))
    writers.revoke(scene.root, thief.writer_id)
    writers.enrol(scene.root, "another")
    assert refused(lambda: Repository.open(scene.store, scene.credentials[1], scene.env)) == "not-permitted"
    fresh = Repository.open(scene.store, scene.key, scene.env)
    assert "another" in {entry.label for entry in fresh.require_keyring().writers}
    mend_twins(fresh)
    for name in [name for name in scene.names("twin/") if name.removeprefix("twin/") in scene.store.objects]:
        assert scene.store.get(name) == scene.store.get(name.removeprefix("twin/"))
    scene.all_is_well()


def stopped_revocation(folder: Path) -> None:
    """Whatever it plants under what a revocation reads, its key is taken away; root clears the rest by name, and goes on."""
    scene = Scene(folder)
    thief, victim = scene.thief.repository, scene.victim.repository.writer_id
    last = names.number(10**names.NUMBER_DIGITS - 1)
    planted = [
        "access/00000000",
        *(f"{kind}/{who}/{last}" for kind in ("wrap", "writer") for who in (thief.writer_id, victim)),
    ]
    for name in (*planted, f"twin/writer/{thief.writer_id}/{last}"):
        scene.plant(name, thief.env.random_bytes(300))
    # The others go on, with newer keys, too; and the thief ends.
    rotation.renew(scene.root, rotation.plan_renewal(scene.root, [1]))
    assert scene.root.home.certificate(victim, fresh=True).newest
    writers.revoke(scene.root, thief.writer_id)
    assert refused(lambda: Repository.open(scene.store, scene.credentials[1], scene.env)) == "not-permitted"
    word, unread = newest_word(scene.root.home, thief.writer_id)
    assert word is not None
    assert (word.body.state, unread) == ("revoked", True)
    # Nobody guesses what an unreadable policy or entry said: root says that it goes.
    assert refused(lambda: read_policy(scene.root.home)) == "damage"
    assert refused(lambda: rotation.plan_root(scene.root, at_hand=scene.key)) == "damage"
    assert refused(lambda: unreadable(scene.root.home, [f"writer/{victim}/00000000"])) == "usage"
    assert refused(lambda: unreadable(scene.root.home, ["vault"])) == "usage"
    cleared = unreadable(scene.root.home, planted)
    assert sorted(cleared) == sorted([*planted, f"twin/writer/{thief.writer_id}/{last}"])
    for name in cleared:
        scene.store.delete(name)
    assert read_policy(scene.root.home) == AccessPolicy()
    rotation.rotate_root(scene.root, rotation.plan_root(scene.root, at_hand=scene.key))
    scene.all_is_well()


def exhausted_numbers(folder: Path) -> None:
    """The highest number of each list is taken, and the next ones: every list goes on."""
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    victim = scene.victim.repository.writer_id
    last = 10**names.NUMBER_DIGITS - 1
    for prefix in ("condemn", "damaged", "keyring", "access", f"writer/{victim}", f"hold/{scene.first.id}"):
        for number in (last, last - 1):
            name = f"{prefix}/{names.number(number)}"
            if (prefix, number) == ("condemn", last):
                scene.plant(name, home.encode(name, CondemnBody((), ()), signer))
            elif prefix != "condemn":
                scene.plant(name, home.encode(name, HoldBody(held=True, reason=""), signer))
    writers.enrol(scene.root, "another")
    set_hold(scene.root.home, scene.first.id, scene.root.root, held=True, reason="a lawsuit")
    assert read_hold(scene.root.home, scene.first.id).held
    set_hold(scene.root.home, scene.first.id, scene.root.root, held=False, reason="it is over")
    assert read_hold(scene.root.home, scene.first.id).released
    put_policy(scene.root, AccessPolicy())
    second = scene.victim.backup(dict.fromkeys(FILES, 2))
    forget.forget(scene.root, scene.first.id, reason="retention")
    del scene.victim.acknowledged[scene.first.id]
    assert prune(scene.root, NOW, FakeEngine()).phase == "closed"
    assert second.id in {s.id for s in scene.root.snapshots()}
    writers.revoke(scene.root, victim)
    assert scene.root.home.certificate(victim, fresh=True).revoked


def forged_access_policy(folder: Path) -> None:
    scene = Scene(folder)
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    name = names.numbered("access", 7)
    scene.plant(name, home.encode(name, AccessPolicy(), signer))
    assert read_policy(scene.root.home) == AccessPolicy()
    put_policy(scene.root, AccessPolicy(operations=("forget",)))
    assert read_policy(scene.root.home).operations == ("forget",)


def forged_release(folder: Path) -> None:
    scene = Scene(folder)
    set_hold(scene.root.home, scene.first.id, scene.root.root, held=True, reason="a lawsuit")
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    name = names.numbered("hold", scene.first.id, 1)
    scene.plant(name, home.encode(name, HoldBody(held=False, reason="free"), signer))
    assert refused(lambda: forget.forget(scene.root, scene.first.id, reason="x")) == "held"


def crowded_history(folder: Path) -> None:
    scene = Scene(folder)
    crowd = scene.host(1, scene.victim.source, "crowd")
    for version in range(4):
        crowd.backup({"junk": version})
    kept = forget.plan(scene.root, RetentionPolicy(last=2))
    assert scene.first.id in {decision.snapshot for decision in kept.decisions if decision.keep}


def taken_names(folder: Path) -> None:
    """A thief that sees a session appear takes the names that it will need: the run begins again, and commits."""
    scene = Scene(folder)
    session = scene.victim.begin()
    where = scene.victim.store(session, FILES | {"f2": 2})
    home, signer = scene.thief.repository.home, scene.thief.repository.writer
    name = f"snapshot/{session.id}"
    body = EnvelopeBody(
        source=scene.victim.source, parent="", started=scene.env.now(), finished=scene.env.now(), partial=False, classes=(),
        anomaly=0, retain_until=None, findings=0,
    )  # fmt: skip
    scene.plant(name, home.encode(name, body, signer))
    try:
        scene.victim.commit(session, where)
    except RevokedError:
        scene.victim.backup(FILES | {"f2": 2})
    else:
        raise AssertionError("another's envelope was taken for its own")
    scene.all_is_well()


def revoked_and_still_writing(folder: Path) -> None:
    scene = Scene(folder)
    late = scene.thief.begin()
    where = scene.thief.store(late, {"junk": 1})
    writers.revoke(scene.root, scene.thief.repository.writer_id)
    assert refused(lambda: Repository.open(scene.store, scene.credentials[1], scene.env)) == "not-permitted"
    assert refused(lambda: scene.thief.commit(late, where)) in {"session-revoked", "damage"}
    home, signer, fresh = scene.thief.repository.home, scene.thief.repository.writer, "77" * 16
    scene.plant(f"session/{fresh}", home.encode(f"session/{fresh}", SessionBody("cd" * 16, (1,), ()), signer))
    scene.plant(f"snapshot/{fresh}", home.encode(f"snapshot/{fresh}", envelope(scene), signer))
    slot = names.numbered("decision", fresh, 0)
    committed = DecisionBody(COMMIT, names_of(scene.store.objects[f"snapshot/{fresh}"]))
    scene.plant(slot, home.encode(slot, committed, signer))
    assert fresh not in {s.id for s in Repository.open(scene.store, scene.key, scene.env).snapshots()}


def envelope(scene: Scene) -> EnvelopeBody:
    now = scene.env.now()
    return EnvelopeBody(
        source="cd" * 16, parent="", started=now, finished=now, partial=False, classes=(), anomaly=0, retain_until=None,
        findings=0,
    )  # fmt: skip


def bomb_in_an_object(folder: Path) -> None:
    """A part whose frame unpacks to a gigabyte and states ten bytes: it is not unpacked."""
    import resource
    import struct

    import zstandard
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from holdfast.repository import objects

    scene = Scene(folder)
    thief = scene.thief.repository
    known = thief.generation(1)
    assert known is not None
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(256 << 20))
    head = thief.home.head(INDEX_RUN, 1, 0, thief.writer)
    fields = (objects.SEALED_MAGIC, 1, INDEX_RUN, 1, head.vault, 1, 0, 0, head.nonce, head.signer, 10, 0)
    aad = objects._SEALED_HEAD.pack(*fields)
    before = aad + AESGCM(objects._sealed_key(INDEX_RUN, head.nonce, known.index_key)).encrypt(bytes(12), bomb, aad)
    framed = before + thief.writer.key.sign(objects._sealed_message(before))
    data = framed + bytes.fromhex(names_of(framed))
    assert struct.calcsize("<8s") == 8
    scene.plant(f"index/{names_of(data)}", data)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    view = Indexes(scene.victim.repository, folder / "fresh", FakeEngine()).read()
    assert view.untrusted == (names_of(data),)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 128 << 10, "it was unpacked"
    scene.victim.backup(FILES | {"f3": 2})
    apply(scene.root, plan(scene.root), FakeEngine())
    scene.all_is_well()
