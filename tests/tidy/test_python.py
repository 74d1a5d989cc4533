"""What a formatter cannot see in the Python sources: sizes, words, doors, completeness."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

import holdfast

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "holdfast").rglob("*.py"))
RESCUE = sorted((ROOT / "rescue").rglob("*.py"))
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions_of(path: Path):
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("path", SOURCES + RESCUE, ids=name_of)
def test_a_module_can_be_read_at_one_sitting(path):
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", SOURCES + RESCUE, ids=name_of)
def test_a_function_fits_on_a_screen(path):
    for function in functions_of(path):
        body = function.body[1:] if ast.get_docstring(function) else function.body
        lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
        assert lines <= FUNCTION_LINES_MAX, function.name


def forbidden_words() -> set[str]:
    """Return the words in the last column of the glossary's table."""
    rows = re.findall(r"^\|.*\|([^|]*)\|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def public_names(path: Path) -> list[str]:
    body = tree_of(path).body
    return [
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ] + [path.stem]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_public_names_use_the_glossary_s_words(path):
    forbidden = forbidden_words()
    assert {"archive", "blob", "backend", "utils"} <= forbidden
    for name in public_names(path):
        words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        assert not words & forbidden, name


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_engine_s_own_module_imports_the_extension(path):
    if path.name != "engine.py":
        assert not [name for name in imports_of(path) if name.startswith("holdfast._core")]


SEEDED = {"src/holdfast/runs/hospital.py"}
"""Makers of synthetic data: their pseudo-randomness is seeded."""


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_time_and_randomness_come_through_one_door(path):
    name = name_of(path)
    if name == "src/holdfast/base/environment.py":
        return
    forbidden = {"time", "random", "secrets", "uuid"}
    if name in SEEDED or "/testing/" in name:
        forbidden -= {"random"}
    if "/testing/" in name:
        forbidden -= {"time"}
    assert not imports_of(path) & forbidden
    text = path.read_text()
    for call in (r"datetime\.(now|utcnow|today)\(", r"\bos\.urandom\(", r"\bdate\.today\(", r"\bos\.getrandom\("):
        assert not re.search(call, text), call


PROGRAMS = {"src/holdfast/sources/watchdog_child.py"}
"""Modules that are a process of their own."""


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_library_leaves_alone_what_belongs_to_the_whole_process(path):
    """Threads share the umask and the working folder: who sets one and puts it back does so in the middle of another's work."""
    if name_of(path) not in PROGRAMS:
        assert not re.search(r"\bos\.(umask|chdir|fchdir)\(", path.read_text())


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_what_a_module_exports_is_what_it_has(path):
    names = [
        element.value
        for node in tree_of(path).body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        and isinstance(node.value, ast.List)
        for element in node.value.elts
        if isinstance(element, ast.Constant) and isinstance(element.value, str)
    ]  # fmt: skip
    if not names:
        return
    module = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    found = importlib.import_module(module)
    for name in names:
        assert hasattr(found, name), name
    if path.name not in ("__init__.py", "__main__.py"):
        assert not set(public_names(path)[:-1]) - set(names), "public names that __all__ does not list"


def test_the_public_door_is_complete_and_documented():
    assert set(holdfast.__all__) == {*holdfast._HOMES, "__version__"}
    assert set(dir(holdfast)) == set(holdfast.__all__)
    for name in holdfast._HOMES:
        found = getattr(holdfast, name)
        assert name == "Events" or getattr(found, "__doc__", None), name
    with pytest.raises(AttributeError):
        holdfast.nothing  # noqa: B018 - asking is the test


def test_every_public_name_is_used_by_a_test():
    tests = "\n".join(
        path.read_text() for path in (ROOT / "tests").rglob("*.py") if path.parent.name not in ("tidy", "cli")
    )
    missing = [name for name in holdfast._HOMES if not re.search(rf"\b{name}\b", tests)]
    for owner in (holdfast.Vault, holdfast.Snapshot, holdfast.SnapshotList):
        missing += [
            f"{owner.__name__}.{name}"
            for name in vars(owner)
            if not name.startswith("_") and not re.search(rf"\.{name}\b", tests)
        ]
    assert not missing
