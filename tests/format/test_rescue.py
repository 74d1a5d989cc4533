"""The rescue reader restores vaults that a second, independent writer made from docs/format: contents, attributes, damage, limits."""

import hashlib
import json
import os
import stat

import holdfast_rescue
import pytest
from tests.format import spec_writer as w

ROOT = os.geteuid() == 0


def run(vault, tmp_path, *arguments, flags=(), secret=None):
    key = secret or ["--key-file", vault.key_file(tmp_path / "key.txt")]
    return holdfast_rescue.main([vault.root, *key, *flags, *map(str, arguments)])


def build(tmp_path, **options):
    """A vault with one snapshot that holds every kind of entry and content."""
    vault = w.SpecVault(tmp_path / "vault", **options)
    keys = vault.classes["phi"]
    data, meta, maps = w.Pack(vault, keys, 1), w.Pack(vault, keys, 2), w.Pack(vault, keys, 3)
    blob = [vault.random(3000), b"HL7|" * 5000, b"x" * 700]
    places = data.add([(1, blob[0]), (1, blob[1])]) + data.add([(1, blob[2])], codec=0)
    pages = [vault.random(w.PAGE) for _ in range(300)] + [vault.random(100)]
    (base,) = data.add([(6, b"".join(pages[:256]))])
    new, tail = data.add([(6, pages[7])])[0], data.add([(6, b"".join(pages[258:]))])[0]
    holed = [*pages[:7], pages[7], *pages[8:256]]
    groups = [
        w.group(keys, holed, [(7, base, 0), (1, new, 0), (248, base, 8)]),
        w.group(keys, [None, None, *pages[258:]], [(2, None, 0), (43, tail, 0)]),
    ]
    group_places = maps.add([(4, groups[0]), (4, groups[1])])
    size = 300 * w.PAGE + 100
    (group_list,) = maps.add([(3, w.listing(lambda s: w.varint(2) + b"".join(s.add(p) for p in group_places)))])
    content = b"".join(pages[:256]) + bytes(2 * w.PAGE) + b"".join(pages[258:])
    listed = [(len(blob[1]), places[1]), (1 << 20, None), (700, places[2])]
    (piece_place,) = meta.add([(3, w.listing(lambda s: w.piece_list(listed, s)))])
    log2 = w.varint(w.PAGE.bit_length() - 1)
    more = {"xattrs": ((b"user.a", b"1"), (b"user.b", b"\xff\0"))} if xattrs_work(tmp_path) else {}
    items = [
        w.Item(b"", 2, mode=0o755),
        w.Item(b"srv", 2, mode=0o750),
        w.inline(b"srv/-empty", b""),
        w.Item(b"srv/a", 2, mode=0o500, mtime=(-5, 999_999_999)),
        w.inline(b"srv/a/in\xfflined", b"short", mode=0o4711, names=(b"root", b"wheel"), **more),
        w.pieces(b"srv/a/two", [(3000, places[0]), (700, places[2])], link_id=b"12345678"),
        w.Item(b"srv/a.fifo", 4, mode=0o600),
        w.at(2, b"srv/holes", len(blob[1]) + (1 << 20) + 700, [piece_place]),
        w.Item(b"srv/link", 3, target=b"/etc/passwd", mode=0o777),
        w.at(3, b"srv/map", size, group_places, log2),
        w.at(4, b"srv/mapped", size, [group_list], log2),
        w.pieces(b"srv/two-too", [(3000, places[0]), (700, places[2])], link_id=b"12345678"),
    ]
    root = w.tree(meta, items)
    vault.index(keys, [pack.finish() for pack in (data, meta, maps)])
    vault.id_of = vault.snapshot({"phi": root})
    vault.expected = {
        b"srv/-empty": b"", b"srv/a/in\xfflined": b"short", b"srv/a/two": blob[0] + blob[2],
        b"srv/holes": blob[1] + bytes(1 << 20) + blob[2], b"srv/map": content, b"srv/mapped": content,
        b"srv/two-too": blob[0] + blob[2],
    }  # fmt: skip
    vault.packs = {"data": data, "meta": meta, "maps": maps}
    return vault


def xattrs_work(tmp_path):
    try:
        os.setxattr(tmp_path, b"user.test", b"1")
    except OSError:
        return False
    return True


def files_under(target):
    target = os.fsencode(target)
    found = {}
    for parent, _, names in os.walk(target):
        for name in names:
            path = os.path.join(parent, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as stream:
                    found[os.path.relpath(path, target)] = stream.read()
    return found


@pytest.mark.parametrize("flags", [(), ("--no-index",)])
def test_restores_everything(tmp_path, flags):
    vault, out = build(tmp_path), os.fsencode(tmp_path / "out")
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out", flags=flags) == 0
    assert files_under(out) == vault.expected
    lined = os.lstat(out + b"/srv/a/in\xfflined")
    assert stat.S_IMODE(lined.st_mode) == 0o4711
    assert lined.st_mtime_ns == 1_700_000_000_123_456_789
    if xattrs_work(tmp_path):
        assert os.getxattr(out + b"/srv/a/in\xfflined", b"user.b") == b"\xff\0"
    assert stat.S_IMODE(os.lstat(out + b"/srv/a").st_mode) == 0o500
    assert os.lstat(out + b"/srv/a").st_mtime_ns == -5 * 10**9 + 999_999_999
    assert stat.S_ISFIFO(os.lstat(out + b"/srv/a.fifo").st_mode)
    assert os.readlink(out + b"/srv/link") == b"/etc/passwd"
    assert os.lstat(out + b"/srv/two-too").st_ino == os.lstat(out + b"/srv/a/two").st_ino
    assert os.lstat(out + b"/srv/holes").st_blocks * 512 < 1 << 19, "a hole is restored as a hole"


def test_passphrase_opens_whatever_its_unicode_form(tmp_path):
    vault = build(tmp_path)
    (tmp_path / "pass").write_text("un cafe\N{COMBINING ACUTE ACCENT}\n")
    assert run(vault, tmp_path, "list", secret=["--passphrase-file", str(tmp_path / "pass")]) == 0


def test_lists_and_selects(tmp_path, capsysbinary):
    vault = build(tmp_path)
    assert run(vault, tmp_path, "list") == 0
    assert vault.id_of.encode() in capsysbinary.readouterr().out
    assert run(vault, tmp_path, "ls", vault.id_of[:6], "/srv/a") == 0
    paths = [line.split()[-1] for line in capsysbinary.readouterr().out.splitlines()]
    assert paths == [b"srv/a", b"srv/a/in\xfflined", b"srv/a/two"]
    assert (
        run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out", "srv/a/two", "srv/map", "srv/nothing") == 3
    )
    assert set(files_under(tmp_path / "out")) == {b"srv/a/two", b"srv/map"}
    assert stat.S_IMODE(os.stat(tmp_path / "out/srv").st_mode) == 0o750, "folders above have their attributes"


def test_verify_finds_nothing_wrong(tmp_path):
    assert run(build(tmp_path), tmp_path, "verify") == 0


def test_class_trees_are_merged_and_the_lowest_rank_counts(tmp_path):
    vault = w.SpecVault(tmp_path / "vault", classes=((6, "system"), (1, "phi"), (70, "site")))
    roots = {}
    for name, text in (("system", b"system"), ("phi", b"phi"), ("site", b"site")):
        meta = w.Pack(vault, vault.classes[name], 2)
        items = [w.Item(b"d", 2, mode=0o700 + len(text)), w.inline(b"d/" + text, text)]
        roots[name] = w.tree(meta, items)
        vault.index(vault.classes[name], [meta.finish()])
    vault.snapshot(roots)
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 0
    assert set(files_under(tmp_path / "out")) == {b"d/system", b"d/phi", b"d/site"}
    assert stat.S_IMODE(os.stat(tmp_path / "out/d").st_mode) == 0o703


def test_repacked_segments_are_found_under_their_origin(tmp_path):
    vault = build(tmp_path)
    old = vault.packs["data"]
    new = w.Pack(vault, vault.classes["phi"], 1)
    new.envelopes, new.origins = [], [(new.nonce, 0xFFFF)]
    new.take_over(old)
    vault.index(vault.classes["phi"], [new.finish()])
    os.unlink(os.path.join(vault.root, old.name))
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 0
    assert files_under(tmp_path / "out") == vault.expected


def test_only_committed_snapshots_exist(tmp_path, capsys):
    vault = build(tmp_path)
    root = w.tree(meta := w.Pack(vault, vault.classes["phi"], 2), [w.inline(b"late", b"late")])
    vault.index(vault.classes["phi"], [meta.finish()])
    late = "2027-01-01T00:00:00.000000Z"
    hidden = [vault.snapshot({"phi": root}, decide=verdict, finished=late) for verdict in ("", "revoked")]
    forgotten = vault.snapshot({"phi": root}, finished=late)
    vault.signed(f"forgotten/{forgotten}", {"reason": "", "snapshot": ""})
    assert run(vault, tmp_path, "list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [vault.id_of]
    assert run(vault, tmp_path, "ls", hidden[0]) == 5
    assert run(vault, tmp_path, "list", flags=["--all"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in (*hidden, forgotten, "uncommitted", "revoked", "forgotten"))


def test_a_revoked_writers_other_sessions_do_not_count(tmp_path):
    vault = build(tmp_path)
    body = {"id": vault.writer.hex(), "signing_public": w.b64(w.raw_public(vault.writer_signing)), "revoked": True}
    name = f"writer/{vault.writer.hex()}/0000000"
    vault.control(name + "0", {**body, "sessions": [vault.id_of]}, "root", vault.root_signing)
    assert run(vault, tmp_path, "ls", "latest") == 0
    vault.control(name + "1", {**body, "sessions": []}, "root", vault.root_signing)
    assert run(vault, tmp_path, "ls", "latest") == 5


def test_an_object_under_another_name_is_damage(tmp_path):
    vault = build(tmp_path)
    os.rename(os.path.join(vault.root, f"decision/{vault.id_of}"), os.path.join(vault.root, f"decision/{'0' * 32}"))
    root = w.tree(meta := w.Pack(vault, vault.classes["phi"], 2), [])
    vault.index(vault.classes["phi"], [meta.finish()])
    other = vault.snapshot({"phi": root})
    os.rename(os.path.join(vault.root, f"snapshot/{other}"), os.path.join(vault.root, f"snapshot/{vault.id_of}"))
    assert run(vault, tmp_path, "ls", vault.id_of) == 5
    assert run(vault, tmp_path, "verify") == 4


def test_squatted_and_rotten_decisions_do_not_hide_a_snapshot(tmp_path):
    vault = build(tmp_path)
    flip(vault, f"decision/{vault.id_of}/00000000")
    assert run(vault, tmp_path, "list") == 4
    assert run(vault, tmp_path, "restore", vault.id_of[:8], "--to", tmp_path / "out") == 4
    assert files_under(tmp_path / "out") == vault.expected


def flip(vault, name, position=-50):
    path = os.path.join(vault.root, name)
    data = bytearray(read(path))
    data[position] ^= 0x10
    with open(path, "wb") as stream:
        stream.write(data)


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def all_objects(vault):
    for parent, _, names in os.walk(vault.root):
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), vault.root)


def test_a_flipped_bit_anywhere_is_found_and_never_restored_as_good(tmp_path):
    vault = build(tmp_path)
    clean = {name: read(os.path.join(vault.root, name)) for name in all_objects(vault)}
    randomness = vault.randomness
    for number in range(120):
        name = sorted(clean)[number % len(clean)]
        flip(vault, name, randomness.randrange(len(clean[name])))
        verdict = run(vault, tmp_path, "verify")
        assert verdict in (1, 4, 6), name
        out = tmp_path / f"out{number}"
        code = run(vault, tmp_path, "restore", "latest", "--to", out)
        restored = files_under(out) if out.exists() else {}
        good = {path: data for path, data in restored.items() if b".damaged" not in path}
        assert all(vault.expected[path] == data for path, data in good.items()), name
        assert code or restored == vault.expected, name
        vault.put(name, clean[name])
    assert run(vault, tmp_path, "verify") == 0


def test_a_damaged_segment_costs_only_its_files(tmp_path, capsys):
    vault = build(tmp_path)
    flip(vault, vault.packs["data"].name, vault.packs["data"].segments_from + 9)
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 4
    found = files_under(tmp_path / "out")
    damaged = {b"srv/a/two", b"srv/two-too", b"srv/holes"}
    assert {path for path in found if path.endswith(b".damaged")} == {path + b".damaged" for path in damaged}
    maps = {path: json.loads(found.pop(path)) for path in list(found) if path.endswith(b".map")}
    assert maps.keys() == {b"srv/a/two.damaged.map", b"srv/holes.damaged.map"}, "a hard link needs none of its own"
    assert maps[b"srv/a/two.damaged.map"] == {
        "format": "holdfast-damaged-1",
        "size": 3700,
        "lost": [{"offset": 0, "length": 3000}],
    }
    assert {path: found[path] for path in found if not path.endswith(b".damaged")} == {
        path: data for path, data in vault.expected.items() if path not in damaged
    }
    assert len(found[b"srv/a/two.damaged"]) == 3700
    assert found[b"srv/a/two.damaged"][3000:] == b"x" * 700
    assert "DAMAGED: srv/holes" in capsys.readouterr().err


def test_a_lost_index_and_a_lost_directory_cost_nothing(tmp_path):
    vault = build(tmp_path)
    flip(vault, vault.packs["meta"].name, -20)
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "one") == 4
    assert files_under(tmp_path / "one") == vault.expected
    flip(vault, vault.packs["meta"].name, -20)
    for name in os.listdir(os.path.join(vault.root, "index")):
        flip(vault, f"index/{name}")
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "two") == 4
    assert files_under(tmp_path / "two") == vault.expected


@pytest.mark.parametrize("own_key", [True, False])
def test_a_stolen_writer_cannot_speak_for_another_pack(tmp_path, capsys, own_key):
    """It plants a pack that claims another's origin: under a key of its own, or (its own map packs) under the true one."""
    vault = build(tmp_path)
    true = vault.packs["data"]
    forged = w.Pack(vault, vault.classes["phi"], 1, run_key=None if own_key else true.run_key)
    forged.nonce = true.nonce
    forged.origins = [(forged.nonce, 0)]
    forged.add([(1, bytes(3000)), (1, b"HL7!" * 5000)])
    forged.finish()
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out", "srv/a/two") == 4
    assert set(files_under(tmp_path / "out")) == (
        {b"srv/a/two"} if own_key else {b"srv/a/two.damaged", b"srv/a/two.damaged.map"}
    )
    assert ("claims an origin" if own_key else "different content") in capsys.readouterr().err


@pytest.mark.parametrize("path", [b"../evil", b"a/../../evil", b"a/./b", b".."])
def test_no_path_leads_out_of_the_target(tmp_path, path):
    vault = one_leaf(tmp_path, [w.inline(path, b"evil")])
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 4
    assert not files_under(tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_nothing_is_written_through_a_symlink(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = os.fsencode(tmp_path / "elsewhere")
    vault = one_leaf(tmp_path, [w.Item(b"a", 3, target=target), w.inline(b"a/b", b"evil")])
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 3
    assert not files_under(target)


def one_leaf(tmp_path, items, raw=None):
    vault = w.SpecVault(tmp_path / "vault")
    meta = w.Pack(vault, vault.classes["phi"], 2)
    (place,) = meta.add([(2, w.leaf(items) if raw is None else raw)])
    vault.index(vault.classes["phi"], [meta.finish()])
    vault.snapshot({"phi": (place, len(items), 0)})
    return vault


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"\x02\x00\x00\x00\x00", "version"),
        (b"\x01\x00\x00\x00\x00\x00", "trailing"),
        (b"\x01\x00\x00\x00\x05", "too early"),
        (b"\x01\x00\x00\x00\x80\x00", "out of range"),
        (b"\x01\x11\x00\x00\x00", "level"),
    ],
)
def test_malformed_nodes_are_refused(tmp_path, capsys, raw, why):
    vault = one_leaf(tmp_path, [], raw)
    assert run(vault, tmp_path, "ls", "latest") == 4
    assert why in capsys.readouterr().err


def test_order_is_enforced(tmp_path):
    vault = one_leaf(tmp_path, [w.inline(b"a.b", b"1"), w.inline(b"a/b", b"2")])
    assert run(vault, tmp_path, "ls", "latest") == 4


def test_an_empty_tree_is_a_tree(tmp_path):
    vault = one_leaf(tmp_path, [])
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 0


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    vault = w.SpecVault(tmp_path / "vault")
    meta = w.Pack(vault, vault.classes["phi"], 2)
    bomb = w.compress(bytes(1 << 28))
    with monkeypatch.context() as patch:
        patch.setattr(w, "compress", lambda _: bomb)
        (place,) = meta.add([(2, w.leaf([]))])
    vault.index(vault.classes["phi"], [meta.finish()])
    vault.snapshot({"phi": (place, 0, 0)})
    assert run(vault, tmp_path, "ls", "latest") == 4


def test_wrong_key_wrong_place_wrong_target(tmp_path, capsys):
    vault = build(tmp_path)
    other = w.SpecVault(tmp_path / "other", seed=2)
    assert run(vault, tmp_path, "list", secret=["--key-file", other.key_file(tmp_path / "k")]) == 6
    assert holdfast_rescue.main([str(tmp_path), "--key-file", str(tmp_path / "k"), "list"]) == 5
    assert run(vault, tmp_path, "ls", "ffff") == 5
    assert run(vault, tmp_path, "restore", "latest", "--to", vault.root + "/x") == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "full") == 2
    (tmp_path / "nokey").write_text("hello\n")
    assert run(vault, tmp_path, "list", secret=["--key-file", str(tmp_path / "nokey")]) == 6
    assert "HOLDFAST-KEY-1" in capsys.readouterr().err


def test_an_older_keyring_serves_when_the_newest_is_damaged(tmp_path):
    vault = build(tmp_path)
    vault.keyring(1)
    flip(vault, "keyring/00000001")
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 4
    assert files_under(tmp_path / "out") == vault.expected


def test_a_very_deep_path(tmp_path):
    deep = b"/".join([b"d"] * 700)
    vault = one_leaf(tmp_path, [w.Item(deep, 2, mode=0o711), w.inline(deep + b"/f", b"deep"), w.inline(b"e", b"e")])
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == 0
    assert files_under(tmp_path / "out") == {deep + b"/f": b"deep", b"e": b"e"}


@pytest.mark.skipif(not ROOT, reason="owners and devices need root")
def test_owners_and_devices_as_root(tmp_path):
    items = [w.Item(b"null", 5, device=(1, 3), owner=(12, 34)), w.inline(b"z", b"", owner=(56, 78), mode=0o6755)]
    vault = one_leaf(tmp_path, items)
    code = run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out")
    found = os.lstat(tmp_path / "out/z")
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (56, 78, 0o6755)
    if code == 0:
        null = os.lstat(tmp_path / "out/null")
        assert (null.st_rdev, null.st_uid) == (os.makedev(1, 3), 12)


def test_the_writer_of_these_tests_is_deterministic_where_it_can_be():
    keys = w.Class(bytes(16), 1, "phi", bytes(32), bytes(32))
    assert (
        hashlib.sha256(keys.content_id(1, b"x")).hexdigest()[:8]
        == hashlib.sha256(keys.content_id(1, b"x")).hexdigest()[:8]
    )
