"""Results as a page: costs side by side, and each target of the project with the figure reached."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOORS = ("tar+zstd", "cp", "statx walk", "sha256sum", "engine")
TITLES = {
    "backup": "first backup",
    "unchanged": "nothing changed",
    "list": "list everything",
    "find": "find by name",
    "path": "a known path",
    "restore": "restore",
    "verify": "verify everything",
    "hash": "hash only",
    "steps": "cut + hash + compress + seal only",
}
MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """A promise, the figure measured, and whether it is kept (None: not measured)."""

    text: str
    figure: str
    kept: bool | None


class Rows:
    """The rows of one workload, by step and tool."""

    def __init__(self, workload: dict[str, Any]) -> None:
        """Index them."""
        self.workload = workload
        self.by = {(row["step"], row["tool"]): row for row in workload["rows"] if not row.get("failed")}

    def own(self, step: str, what: str) -> float | None:
        """Return Holdfast's figure."""
        return self.of(step, "holdfast", what)

    def of(self, step: str, tool: str, what: str) -> float | None:
        """Return one tool's figure."""
        value = self.by.get((step, tool), {}).get(what)
        return None if value is None else float(value)

    def best(self, step: str, what: str) -> tuple[str, float] | None:
        """Return the best peer's figure; floors do not count."""
        found = [
            (float(row[what]), tool)
            for (name, tool), row in self.by.items()
            if name == step and tool not in FLOORS and tool != "holdfast" and what in row
        ]
        return (min(found)[1], min(found)[0]) if found else None

    def gain(self, text: str, step: str, what: str, least: float) -> Target:
        """Say how many times better than the best peer Holdfast is."""
        own, best = self.own(step, what), self.best(step, what)
        if own is None or best is None:
            return Target(text, "not measured", None)
        ratio = best[1] / own if own else float("inf")
        return Target(text, f"{ratio:.2f}× ({own:g} against {best[1]:g}, {best[0]})", ratio >= least)

    def at_most(self, text: str, own: float | None, bound: float | None, factor: float) -> Target:
        """Say that a figure is at most `factor` times a bound."""
        if own is None or bound is None:
            return Target(text, "not measured", None)
        return Target(text, f"{own / bound:.3f}×" if bound else f"{own:g}", own <= factor * bound)


def targets(results: dict[str, Any]) -> list[Target]:
    """Compare the results with every row of the project's table of targets."""
    judges: dict[str, Callable[[Rows], list[Target]]] = {
        "large": _large,
        "small": _small,
        "dicom": _dicom,
        "pages": _pages,
    }
    found: list[Target] = []
    for name, workload in results["workloads"].items():
        rows = Rows(workload)
        found += judges[name](rows)
        found += _common(name, rows)
    return found


def _common(name: str, rows: Rows) -> list[Target]:
    peak = max((row["anonymous_mib"] for (_, tool), row in rows.by.items() if tool == "holdfast"), default=None)
    found = [
        rows.gain(f"{name}: restore, CPU ≥ 1.5×", "restore", "cpu_s", 1.5),
        rows.gain(f"{name}: verify, CPU ≥ 2×", "verify", "cpu_s", 2.0),
    ]
    if peak is not None:
        found.append(Target(f"{name}: peak anonymous memory ≤ 256 MiB", f"{peak:.0f} MiB", peak <= 256))
    wall = rows.own("backup", "wall_s")
    if name != "small" and wall:
        rate = rows.workload["bytes"] / 1e6 / wall
        found.append(Target(f"{name}: first backup ≥ 100 MB/s wall", f"{rate:.0f} MB/s", rate >= 100))
    return found


def _restore_wall(name: str, rows: Rows) -> Target:
    best, copy = rows.best("restore", "wall_s"), rows.of("restore", "cp", "wall_s")
    bounds = [bound for bound in (best[1] if best else None, copy) if bound is not None]
    text = f"{name}: restore, wall ≤ 1.15× the faster of the best peer and cp"
    return rows.at_most(text, rows.own("restore", "wall_s"), min(bounds, default=None), 1.15)


def _large(rows: Rows) -> list[Target]:
    smallest = rows.best("backup", "repository_bytes")
    own, floor = rows.own("backup", "cpu_s"), rows.of("steps", "engine", "cpu_s")
    return [
        rows.gain("large: first backup, CPU ≥ 2×", "backup", "cpu_s", 2.0),
        rows.gain("large: first backup, wall ≥ 2×", "backup", "wall_s", 2.0),
        rows.at_most(
            "large: repository ≤ 1.02× the smallest",
            rows.own("backup", "repository_bytes"),
            smallest[1] if smallest else None,
            1.02,
        ),
        rows.at_most("large: CPU ≤ 1.3× cutting + hashing + compressing + sealing", own, floor, 1.3),
        _restore_wall("large", rows),
    ]


def _small(rows: Rows) -> list[Target]:
    smallest = rows.best("backup", "repository_bytes")
    added = rows.best("change 1", "added_bytes")
    walk = rows.of("unchanged", "statx walk", "wall_s")
    written = rows.own("unchanged", "added_bytes")
    found = [
        rows.gain("small: first backup, CPU ≥ 5×", "backup", "cpu_s", 5.0),
        rows.gain("small: first backup, wall ≥ 4×", "backup", "wall_s", 4.0),
        rows.at_most(
            "small: repository ≤ 0.7× the smallest",
            rows.own("backup", "repository_bytes"),
            smallest[1] if smallest else None,
            0.7,
        ),
        rows.gain("small: nothing changed, wall ≥ 5×", "unchanged", "wall_s", 5.0),
        rows.at_most("small: nothing changed, wall ≤ 3× a statx walk", rows.own("unchanged", "wall_s"), walk, 3.0),
        rows.gain("small: 1 % changed, wall ≥ 3×", "change 1", "wall_s", 3.0),
        rows.at_most(
            "small: 1 % changed, bytes added ≤ 0.5× the best peer",
            rows.own("change 1", "added_bytes"),
            added[1] if added else None,
            0.5,
        ),
        rows.gain("small: restore, wall ≥ 2×", "restore", "wall_s", 2.0),
    ]
    if written is not None:
        text = "small: nothing changed, < 64 KiB added to the vault"
        found.append(Target(text, f"{written / 1024:.1f} KiB", written < 65536))
    for step, title in (("find", "find by name"), ("path", "a known path")):
        wall = rows.own(step, "wall_s")
        if wall is not None:
            found.append(Target(f"small: {title} < 1 s, cold start included", f"{wall:.2f} s", wall < 1))
    return found


def _dicom(rows: Rows) -> list[Target]:
    own, floor = rows.own("backup", "cpu_s"), rows.of("steps", "engine", "cpu_s")
    size = float(rows.workload["bytes"])
    return [
        rows.at_most("dicom: repository ≤ 1.005× the input", rows.own("backup", "repository_bytes"), size, 1.005),
        rows.at_most("dicom: CPU ≤ hashing, cutting and sealing once", own, floor, 1.0),
    ]


def _pages(rows: Rows) -> list[Target]:
    size = float(rows.workload["bytes"])
    return [
        rows.at_most(
            "pages: 1 % changed, bytes added ≤ 1.5 % of the file", rows.own("change 1", "added_bytes"), size, 0.015
        ),
        rows.gain("pages: 1 % changed, wall ≥ 2×", "change 1", "wall_s", 2.0),
        _restore_wall("pages", rows),
    ]


def render(results: dict[str, Any]) -> str:
    """Write the page in Markdown."""
    machine = results["machine"]
    parts = [
        "# Benchmarks",
        "",
        "Holdfast and its peers, each workload in one run, encryption on, default settings, local repository, warm cache. Wall",
        "time includes `sync`; CPU is user + system of the whole process tree; memory: peak of",
        "anonymous memory (resident beside it).",
        "",
        f"Machine: {machine['cpu']}, {machine['memory']}, Linux {machine['kernel']}, Python {machine['python']}. Made by",
        "",
        "    uv run --group bench python bench/run.py --work FOLDER --scale SCALE --workloads WORKLOAD",
        "",
        "## Targets",
        "",
        "| target | measured | kept |",
        "|---|---|---|",
    ]
    words = {True: "yes", False: "**no**", None: "–"}
    parts += [f"| {one.text} | {one.figure} | {words[one.kept]} |" for one in targets(results)]
    for workload in results["workloads"].values():
        parts += ["", *_workload(workload)]
    return "\n".join(parts) + "\n"


def _workload(workload: dict[str, Any]) -> list[str]:
    parts = [
        f"## {workload['title']}",
        "",
        f"{workload['files']:,} files, {workload['bytes'] / 1e6:,.0f} MB (scale {workload['scale']:g}, seed {workload['seed']}, "
        f"{workload['date']}). "
        + "; ".join(
            f"{name}: {one['version']}{', ' + one['note'] if one['note'] else ''}"
            for name, one in workload["tools"].items()
        ),
        "",
    ]
    for step in dict.fromkeys(row["step"] for row in workload["rows"]):
        title = TITLES.get(step) or f"{step.split()[1]} % changed ({workload['changes'][step] / 1e6:,.2f} MB raw)"
        parts += [f"### {title}", "", "| | CPU s | wall s | anonymous MiB (resident) | repository MB | added MB |"]
        parts += ["|---|---|---|---|---|---|"]
        parts += [_row(row) for row in workload["rows"] if row["step"] == step]
        parts.append("")
    return parts


def _row(row: dict[str, Any]) -> str:
    if row.get("failed"):
        return f"| {row['tool']} | failed | | | | |"
    size = f"{row['repository_bytes'] / 1e6:,.1f}" if "repository_bytes" in row else ""
    added = f"{row['added_bytes'] / 1e6:,.3f}" if "added_bytes" in row else ""
    name = row["tool"] + (" (floor)" if row["tool"] in FLOORS else "")
    name += "" if row.get("faithful", True) else " **restored wrong**"
    memory = f"{row['anonymous_mib']:.0f} ({row['resident_mib']:.0f})"
    return f"| {name} | {row['cpu_s']:.2f} | {row['wall_s']:.2f} | {memory} | {size} | {added} |"


if __name__ == "__main__":
    print(render(json.loads(Path(sys.argv[1]).read_text())))
