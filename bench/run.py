"""Holdfast beside its peers: the same work, in the same run, on the same files.

    uv run --group bench python bench/run.py --work /tmp/bench --scale 0.02           # minutes
    uv run --group bench python bench/run.py --work /mnt/fresh --scale 1              # an afternoon

Per workload every tool makes a first backup, one with nothing changed, one per change set, lists, finds, looks up a known
path, restores and verifies, one tool after the other within each step. Results are merged into a JSON file by workload, and
`docs/benchmarks.md` is written from it. Use a fresh file system: after large deletes ext4 creates files slowly for a while.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
import peers
import report
import workloads

HERE = Path(__file__).parent
STEPS = ("backup", "unchanged", "change", "list", "find", "path", "restore", "verify")
SAMPLE_FILES = 2000
ACCEPTED = {"find": (0, 1)}


@dataclass
class Bench:
    """One workload being measured."""

    work: Path
    source: Path
    seed: int
    places: dict[str, peers.Place]
    tools: dict[str, peers.Tool]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, step: str, name: str, do: peers.Step | None) -> None:
        """Run one tool's step and note its cost; a step that fails is noted as failed."""
        if do is None:
            return
        place = self.places[name]
        before = measure.folder_bytes(place.repository) if step.startswith(("backup", "change", "unch")) else None
        try:
            env = self.tools[name].env(place)
            cost = measure.run(do.argv, env=env, shell=do.shell, accept=ACCEPTED.get(step, (0,)))
        except measure.CommandFailedError as error:
            print(f"  {step:12} {name:10} FAILED: {error}", file=sys.stderr)
            self.rows.append({"step": step, "tool": name, "failed": str(error)[-300:]})
            return
        row = {"step": step, "tool": name, **cost.as_dict()}
        row.pop("output")
        if before is not None:
            place.count += 1
            row["repository_bytes"] = measure.folder_bytes(place.repository)
            row["added_bytes"] = row["repository_bytes"] - before
        self.rows.append(row)
        print(
            f"  {step:12} {name:10} {cost.wall_s:8.2f} s wall {cost.cpu_s:8.2f} s CPU "
            f"{cost.anonymous_mib:7.1f} MiB anonymous  {row.get('added_bytes', 0) / 1e6:9.2f} MB added",
            flush=True,
        )

    def floor(self, step: str, name: str, argv: list[str], *, shell: bool = False) -> None:
        """Measure something that no backup can beat."""
        try:
            cost = measure.run(argv, shell=shell)
        except (measure.CommandFailedError, OSError) as error:
            print(f"  {step:12} {name:10} not measured: {error}", file=sys.stderr)
            return
        row = {"step": step, "tool": name, "floor": True, **cost.as_dict()}
        last = row.pop("output").strip().rpartition("\n")[2].split()
        if last[:1] == ["sum"]:
            row["cpu_s"] = float(last[1])
        self.rows.append(row)
        print(f"  {step:12} {name:10} {cost.wall_s:8.2f} s wall {cost.cpu_s:8.2f} s CPU (floor)", flush=True)


def run_workload(name: str, options: argparse.Namespace, tools: dict[str, peers.Tool]) -> dict[str, Any]:
    """Measure all tools on one workload."""
    workload = workloads.WORKLOADS[name]
    work = options.work / name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source = work / "source"
    print(f"{workload.title}, scale {options.scale}", flush=True)
    workload.make(source, options.scale, options.seed)
    files = sum(1 for path in source.rglob("*") if path.is_file())
    size = measure.folder_bytes(source)
    places = {tool: peers.Place(work / tool, source) for tool in tools}
    bench = Bench(work, source, options.seed, places, tools)
    for tool, program in tools.items():
        for step in program.init(places[tool]):
            measure.run(step.argv, env=program.env(places[tool]))
    _warm(source)
    changes = _backups(bench, workload, options)
    _queries(bench, name)
    _floors(bench)
    if "restore" in options.steps:
        _restores(bench, size_check=not options.no_compare)
    if "verify" in options.steps:
        for tool, program in tools.items():
            bench.measure("verify", tool, program.verify(places[tool]))
    if not options.keep:
        shutil.rmtree(work)
    return {
        "title": workload.title,
        "scale": options.scale,
        "seed": options.seed,
        "files": files,
        "bytes": size,
        "changes": changes,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rows": bench.rows,
    }


def _warm(source: Path) -> None:
    """Read everything once, so that no tool pays for the others."""
    subprocess.run(["tar", "-cf", "/dev/null", "--exclude=nothing", "-C", source, "."], check=True)


def _backups(bench: Bench, workload: workloads.Workload, options: argparse.Namespace) -> dict[str, int]:
    for step in ("backup", "unchanged"):
        if step in options.steps:
            for name, tool in bench.tools.items():
                bench.measure(step, name, tool.backup(bench.places[name]))
    changes: dict[str, int] = {}
    if workload.change is None or "change" not in options.steps:
        return changes
    for number, part in enumerate(options.changes):
        label = f"change {part:g}"
        changes[label] = workload.change(bench.source, part / 100, options.seed + 1 + number)
        for name, tool in bench.tools.items():
            bench.measure(label, name, tool.backup(bench.places[name]))
    return changes


def _queries(bench: Bench, workload: str) -> None:
    if workload != "small":
        return
    files = sorted(path for path in bench.source.rglob("*") if path.is_file())
    wanted = files[len(files) // 2]
    for name, tool in bench.tools.items():
        place = bench.places[name]
        bench.measure("list", name, tool.list_all(place))
        bench.measure("find", name, tool.find(place, wanted.name))
        bench.measure("path", name, tool.known_path(place, wanted))


def _floors(bench: Bench) -> None:
    bench.floor("hash", "sha256sum", [f"find '{bench.source}' -type f -print0 | xargs -0 -P2 sha256sum"], shell=True)
    copy = bench.work / "copy"
    bench.floor("restore", "cp", ["cp", "-a", str(bench.source), str(copy)])
    shutil.rmtree(copy, ignore_errors=True)
    walk = bench.work / "walk"
    if subprocess.run(["cc", "-O2", "-pthread", HERE / "walk.c", "-o", walk], check=False).returncode == 0:
        bench.floor("unchanged", "statx walk", [str(walk), str(bench.source)])
    if steps := _built_steps():
        bench.floor("steps", "engine", [str(steps), str(bench.source)])


def _built_steps() -> Path | None:
    """Build the engine's own floor with cargo; None without it."""
    build = ["cargo", "build", "--release", "--locked", "--package", "holdfast-pipeline", "--example", "steps"]
    words = [*build, "--message-format", "json"]
    if not shutil.which("cargo"):
        return None
    done = subprocess.run(words, cwd=HERE.parent, capture_output=True, text=True, check=False)
    messages = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return next((Path(one["executable"]) for one in messages if one.get("executable")), None)


def _restores(bench: Bench, *, size_check: bool) -> None:
    for name, tool in bench.tools.items():
        target = bench.work / "restored"
        target.mkdir()
        bench.measure("restore", name, tool.restore(bench.places[name], target))
        if size_check and not bench.rows[-1].get("failed"):
            bench.rows[-1]["faithful"] = _same(bench, tool.restored_root(bench.places[name], target))
        shutil.rmtree(target)


def _same(bench: Bench, root: Path) -> bool:
    """Compare names and sizes of all files and the content of a sample: figures of a wrong restore mean nothing."""
    there = {path.relative_to(bench.source): path.stat().st_size for path in bench.source.rglob("*") if path.is_file()}
    back = {path.relative_to(root): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    names = random.Random(bench.seed).sample(sorted(there), k=min(SAMPLE_FILES, len(there)))
    same = there == back and all(_equal(bench.source / name, root / name) for name in names)
    if not same:
        print("  !! the restore differs from the source", file=sys.stderr)
    return same


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            data = first.read(1 << 20)
            if data != second.read(1 << 20):
                return False
            if not data:
                return True


def machine() -> dict[str, str]:
    """Return what a reader needs to know of this machine, and nothing that names it."""
    processor = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in processor if "model name" in line), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{os.cpu_count()} × {model}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


def main() -> int:
    """Measure, merge the results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder on a fresh file system; its content is replaced"
    )
    parser.add_argument("--scale", type=float, default=0.02, help="1 is the full size of PEERS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workloads", nargs="+", choices=workloads.WORKLOADS, default=list(workloads.WORKLOADS))
    parser.add_argument("--tools", nargs="+", choices=peers.TOOLS, default=list(peers.TOOLS))
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument(
        "--changes", nargs="*", type=float, default=[1.0, 0.1, 10.0, 50.0], help="per cent, in this order"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    parser.add_argument("--keep", action="store_true", help="leave the work folder as it is")
    parser.add_argument("--no-compare", action="store_true", help="do not compare restored files with the source")
    options = parser.parse_args()
    options.work = options.work.resolve()
    tools = {name: peers.TOOLS[name]() for name in options.tools}
    for name in [name for name, tool in tools.items() if not tool.available()]:
        print(f"{name}: not installed, left out")
        del tools[name]
    results = json.loads(options.results.read_text()) if options.results.exists() else {"workloads": {}}
    results["machine"] = machine()
    for name in options.workloads:
        measured = run_workload(name, options, tools)
        measured["tools"] = {tool: {"version": one.version(), "note": one.note} for tool, one in tools.items()}
        results["workloads"][name] = measured
        options.results.write_text(json.dumps(results, indent=1) + "\n")
    if options.page.parent.is_dir():
        options.page.write_text(report.render(results), encoding="utf-8")
    print(report.render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
