"""A signed reply answers one alert of one book, once, for a contact whose key is configured; anything else is refused."""

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import timedelta

import pytest

from holdfast import Alert
from holdfast.base.environment import ManualClock, system
from holdfast.base.files import write_new
from holdfast.cli import main
from holdfast.errors import AlertMissingError, HoldfastError, LocalStateError, ReplyRefusedError, UsageError
from holdfast.reliability.alerts import AlertBook, AlertDesk, AlertState, Contact, Policy
from holdfast.reliability.alerts.messages import reference
from holdfast.reliability.alerts.replies import make_key, sign_reply, take_replies, take_reply


@pytest.fixture
def site(tmp_path):
    key = tmp_path / "anna.key"
    public = make_key(str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    clock = ManualClock()
    book = AlertBook(":memory:", clock.environment())
    contacts = {"anna": Contact("anna", ("mail",), public_key=public), "berta": Contact("berta", ("mail",))}
    number = book.report(Alert("damage", "ehr", "x"))
    yield book, Policy((), contacts), book.get(number), str(key), clock
    book.close()


def signed(record, key, *, action="ack", by="anna", name=None):
    return sign_reply(name or reference(record), action, by, "driving there", key=key, env=system())


def test_a_reply_is_taken_once(site):
    book, policy, record, key, _ = site
    reply = signed(record, key)
    found = take_reply(reply, book, policy)
    assert (found.state, found.acknowledged_by, found.note) == (AlertState.ACKNOWLEDGED, "anna", "driving there")
    with pytest.raises(ReplyRefusedError, match="taken before"):
        take_reply(reply, book, policy)
    assert take_reply(signed(record, key, action="resolve"), book, policy).state is AlertState.RESOLVED


def test_what_is_not_signed_by_a_contact_is_refused(site, tmp_path):
    book, policy, record, key, _ = site
    other = str(tmp_path / "other.key")
    make_key(other)
    reply = json.loads(signed(record, key))
    bad = [
        (signed(record, other), "signature of the reply is wrong"),
        (signed(record, key, by="berta"), "nobody whose key"),
        (signed(record, key, by="ghost"), "nobody whose key"),
        (b"nonsense", "no reply"),
        (b"[]", "no reply"),
        (b" " * 20_000, "at most"),
        (json.dumps(reply | {"action": "drop"}).encode(), "no reply"),
        (json.dumps(reply | {"note": "other"}).encode(), "signature of the reply is wrong"),
        (json.dumps(reply | {"head": "x"}).encode(), "no reply"),
        (json.dumps(reply | {"signature": 3}).encode(), "no reply"),
    ]
    for content, why in bad:
        with pytest.raises(ReplyRefusedError, match=why):
            take_reply(content, book, policy)
    assert book.get(record.number).state is AlertState.OPEN


def test_a_reply_for_another_book_s_alert_is_refused(site):
    book, policy, record, key, clock = site
    for name in (f"{record.number}-00000000", "x", "99-12345678"):
        with pytest.raises(AlertMissingError):
            take_reply(signed(record, key, name=name), book, policy)
    clock.advance(timedelta(hours=1))
    second = book.get(book.report(Alert("damage", "pacs", "x")))
    assert reference(second) != reference(record)


def test_the_folder_of_replies_is_emptied(site, tmp_path):
    book, policy, record, key, clock = site
    folder = tmp_path / "replies"
    assert take_replies(str(folder), book, policy) == (0, 0)
    folder.mkdir()
    (folder / "a.reply").write_bytes(signed(record, key))
    (folder / "b.reply").write_bytes(b"nonsense")
    (folder / "c.txt").write_bytes(b"nonsense")
    (folder / "d.reply").mkdir()
    desk = AlertDesk(book, policy, {}, clock.environment(), reply_folder=str(folder))
    done = desk.round()
    assert done.refused == 2
    (told,) = (each for each in book.live() if each.code == "reply-refused")
    assert (told.subject, told.count, told.state) == ("replies", 2, AlertState.OPEN)
    assert told.text == "a reply was refused: a file of the folder of replies cannot be read"
    assert desk.round().refused == 0, "it is said once"
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.reply.taken",
        "b.reply.refused",
        "c.txt",
        "d.reply.refused",
    ]
    assert book.get(record.number).state is AlertState.ACKNOWLEDGED


def test_keys_are_not_replaced_and_other_files_are_no_keys(site, tmp_path):
    _, _, record, key, _ = site
    with pytest.raises(UsageError, match="exists already"):
        make_key(key)
    with pytest.raises(LocalStateError):
        make_key(str(tmp_path / "none" / "key"))
    with pytest.raises(UsageError, match="cannot be read"):
        signed(record, str(tmp_path / "none"))
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    wrong = tmp_path / "ec.pem"
    made = ec.generate_private_key(ec.SECP256R1())
    wrong.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(HoldfastError, match="none for signing"):
        signed(record, str(wrong))


def test_a_file_that_cannot_be_renamed_is_not_taken_twice(site, tmp_path, monkeypatch):
    book, policy, record, key, _ = site
    (tmp_path / "a.reply").write_bytes(signed(record, key))

    def refuse(*_args):
        raise PermissionError

    monkeypatch.setattr("os.replace", refuse)
    assert take_replies(str(tmp_path), book, policy) == (1, 0)
    assert take_replies(str(tmp_path), book, policy) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--by", "anna", "--key", "{root}/none"), 2),
        (("--by", "anna", "--key", "{root}/site"), 2),
        (("--by", "anna", "--key", "{root}/anna.key", "--action", "drop"), 2),
    ],
)
def test_a_reply_that_fails_leaves_no_file(site, tmp_path, arguments, code):
    (tmp_path / "site").write_text("no key")
    target = tmp_path / "12.reply"
    words = [word.format(root=tmp_path) for word in arguments]
    before = set(tmp_path.iterdir())
    assert main(["alerts", "reply", "12-3f9a2c01", "--out", str(target), *words]) == code
    assert set(tmp_path.iterdir()) == before


def test_replies_and_keys_are_written_whole_or_not_at_all(site, tmp_path, monkeypatch):
    """A disk that is full when the file is synced, a file that is there already: in both cases nothing changes."""
    anna = ("alerts", "reply", "12-3f9a2c01", "--by", "anna", "--key", str(tmp_path / "anna.key"), "--out")
    assert main([*anna, str(tmp_path / "12.reply")]) == 0
    written = (tmp_path / "12.reply").read_bytes()
    assert main([*anna, str(tmp_path / "12.reply")]) == 2
    assert (tmp_path / "12.reply").read_bytes() == written
    before = set(tmp_path.iterdir())

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert main([*anna, str(tmp_path / "13.reply")]) == 7
    assert main(["alerts", "key", "--out", str(tmp_path / "berta.key")]) == 1
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_where_there_are_no_hard_links(tmp_path, monkeypatch, code):
    """On a stick that one carries from host to host (FAT): the name is given by renaming, and still no file is replaced."""

    def refuse(*_names):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    assert write_new(tmp_path / "a", (b"x", b"y")) == 2
    assert (tmp_path / "a").read_bytes() == b"xy"
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", (b"z",))
    monkeypatch.setattr(
        os.path, "lexists", lambda name: os.path.basename(name) == "b" and (tmp_path / ".made").exists()
    )

    def late():
        (tmp_path / ".made").touch()
        yield b"z"

    with pytest.raises(FileExistsError):
        write_new(tmp_path / "b", late())
    assert not (tmp_path / "b").exists()


def test_nothing_is_left_of_what_fails_on_the_way(tmp_path, monkeypatch):
    def parts():
        yield b"x"
        raise LocalStateError("the log cannot be read on")

    with pytest.raises(LocalStateError):
        write_new(tmp_path / "a", parts())
    assert list(tmp_path.iterdir()) == []

    def refuse(*_names):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="Input/output"):
        write_new(tmp_path / "a", (b"x",))
    assert list(tmp_path.iterdir()) == []
