"""What the repository as a whole must not hold: places of one machine, private registries, licences nobody looked at."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUST_LINES_MAX = 500
EXCUSED_LINES_MAX = 600
EXCUSED = {
    "crates/pipeline/src/extract/plan.rs": "to be split: entries to windows, and pieces",
    "crates/pipeline/src/ingest/pages.rs": "to be split: page maps, and what files have them",
    "crates/pipeline/src/packer/mod.rs": "to be split: open packs, and deduplication",
    "crates/python/src/ingest.rs": "mostly the fields of what Python gets",
}
"""Rust modules that are longer than they should be, and why. They may not grow without end, and no other may join them."""
MACHINE_PATHS = re.compile(r"/(?:root|work|home/[a-z]+)/\w")


def tracked() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git working copy")
    done = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_place_of_one_machine():
    for path in tracked():
        if path.name == Path(__file__).name or path.suffix in (".lock", ".bin", ".dcm"):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = MACHINE_PATHS.search(text)
        assert found is None, f"{path.relative_to(ROOT)}: {found}"


def test_nothing_big_or_built_is_tracked():
    for path in tracked():
        assert path.stat().st_size < 2 << 20, path
        assert path.suffix not in (".so", ".pyc", ".profraw", ".whl"), path


def test_locks_name_public_registries_only():
    """A mirror of somebody's own would show as a third host, a port, a bare name or an address."""
    text = (ROOT / "uv.lock").read_text()
    assert "http://" not in text
    hosts = set(re.findall(r"https://([^/\"]+)", text))
    assert len(hosts) == 2
    assert all(re.fullmatch(r"[a-z]+(\.[a-z]+)+", host) and host.endswith(".org") for host in hosts)
    sources = set(re.findall(r'^source = "([^"]+)"', (ROOT / "Cargo.lock").read_text(), re.MULTILINE))
    assert len(sources) == 1


@pytest.mark.parametrize(
    "path", sorted((ROOT / "crates").rglob("src/**/*.rs")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_rust_module_can_be_read_at_one_sitting(path):
    text = path.read_text()
    code = text.split("#[cfg(test)]")[0]
    lines_max = EXCUSED_LINES_MAX if str(path.relative_to(ROOT)) in EXCUSED else RUST_LINES_MAX
    assert len(code.splitlines()) <= lines_max


def licence_allowed(expression: str, allowed: set[str]) -> bool:
    """Decide an SPDX expression of AND and OR (and the old `/`), with brackets."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))
    words = [word for place, word in enumerate(words) if word != "WITH" and words[max(0, place - 1)] != "WITH"]
    python = " ".join(
        {"AND": "and", "OR": "or"}.get(word, word if word in "()" else str(word in allowed)) for word in words
    )
    return bool(eval(python))  # noqa: S307 - made of True, False, and, or and brackets


def test_rust_dependencies_keep_to_deny_toml():
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("no cargo on the path: the build fetched its own")
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    # What is built, for the targets of deny.toml: the lock also lists crates of features that nobody turns on.
    command = [cargo, "tree", "--locked", "--offline", "--workspace", "--edges", "normal,build,dev", "--prefix", "none"]
    command += ["--format", "{p}\t{l}"]
    for target in deny["graph"]["targets"]:
        command += ["--target", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        command.remove("--offline")
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    allowed = set(deny["licenses"]["allow"])
    banned = {ban["crate"] for ban in deny["bans"]["deny"]}
    packages = {tuple(line.removesuffix(" (*)").split("\t")) for line in done.stdout.splitlines() if line}
    outside = [(package, licence) for package, licence in packages if str(ROOT) not in package]
    assert len(outside) > 100
    for package, licence in outside:
        # The default registry only: deny.toml allows no other, and the locks' test that there is one source.
        name, *rest = package.split()
        assert len(rest) == 1 or rest[1:] == ["(proc-macro)"], package
        assert name not in banned
        assert licence_allowed(licence or "none", allowed), f"{name}: {licence}"


def test_licence_expressions_are_read_right():
    allowed = {"MIT", "ISC"}
    assert licence_allowed("MIT OR GPL-3.0", allowed)
    assert licence_allowed("(MIT OR Apache-2.0) AND ISC", allowed)
    assert licence_allowed("Unlicense/MIT", allowed)
    assert not licence_allowed("MIT AND GPL-3.0", allowed)
    assert not licence_allowed("none", allowed)


@pytest.mark.parametrize("path", sorted((ROOT / "changelog").glob("*.md")), ids=lambda path: path.name)
def test_a_changelog_fragment_has_its_kind(path):
    kind = path.name.split(".")[-2]
    assert path.name == "README.md" or kind in {"safety", "added", "changed", "fixed", "removed"}


@pytest.mark.parametrize(("there", "here"), [("rescue", "rescue"), ("format", "docs/format")])
def test_a_wheel_carries_the_rescue_reader_and_the_format(there, here):
    """A courier's medium needs them where only a wheel is installed; maturin follows links to files, not to folders."""
    wanted = {path.name for path in (ROOT / here).iterdir() if path.is_file()}
    found = {path.name: path for path in (ROOT / "wheel/data/share/holdfast" / there).iterdir()}
    assert set(found) == wanted
    assert all(path.resolve() == ROOT / here / name for name, path in found.items())
