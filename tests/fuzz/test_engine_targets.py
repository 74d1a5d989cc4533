"""The engine's fuzz targets on the stable toolchain: the kept corpus and mutations of it; and the rescue reader beside the engine."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from tests.fuzz import rescue_tell
from tests.unit.test_rust import environment

from holdfast.testing.mutations import mutate

ROOT = Path(__file__).resolve().parents[2]
FUZZ = ROOT / "fuzz"
SECONDS = os.environ.get("HOLDFAST_FUZZ_SECONDS", "20")
MUTATIONS = int(os.environ.get("HOLDFAST_FUZZ_MUTATIONS", "400"))
SEED = int(os.environ.get("HOLDFAST_FUZZ_SEED", "1"))
CORPORA = {"pieces": ("content", 1), "groups": ("content", 1), "group": ("content", 1)}
"""Corpora of other names than their kind, and the bytes in front of what the kind is."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The folder of the replayer and of `tell`, built once."""
    environ = environment() | {"CARGO_TARGET_DIR": str(ROOT / "target" / "fuzz")}
    environ.pop("RUSTFLAGS", None)  # a run with coverage has its own; these programs are counted nowhere
    cargo = shutil.which("cargo", path=environ["PATH"])
    assert cargo
    command = [cargo, "build", "--locked", "--release", "--bins", "--manifest-path", str(FUZZ / "Cargo.toml")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr[-4000:]
    return ROOT / "target" / "fuzz" / "release"


@pytest.mark.timeout(2400)
def test_every_target_holds_on_its_corpus_and_on_mutations_of_it(programs):
    command = [programs / "replay", "--seconds", SECONDS, "--seed", str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    targets = {path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs")}
    assert {line.partition(":")[0] for line in done.stdout.splitlines()[1:]} == targets
    assert all(" 0 kept inputs" not in line for line in done.stdout.splitlines())


@pytest.mark.timeout(2400)
def test_the_rescue_reader_and_the_engine_agree(programs):
    """Accepted or refused, and if accepted: the same values. They share no code, and were written from one specification."""
    dice = random.Random(SEED)
    asked: list[tuple[str, bytes]] = []
    for kind in rescue_tell.KINDS:
        folder, skip = CORPORA.get(kind, (kind, 0))
        corpus = [path.read_bytes()[skip:] for path in sorted((FUZZ / "corpus" / folder).iterdir())]
        changed = [mutate(dice, dice.choice(corpus), dice.choice(corpus)) for _ in range(2 * MUTATIONS)]
        asked += [(kind, data) for data in (*corpus, *changed)]
    frames = b"".join(struct.pack("<BI", rescue_tell.KINDS.index(kind), len(data)) + data for kind, data in asked)
    done = subprocess.run([programs / "tell"], input=frames, capture_output=True, check=True, timeout=300)
    answers = done.stdout.decode().splitlines()
    accepted = dict.fromkeys(rescue_tell.KINDS, 0)
    for (kind, data), answer in zip(asked, answers, strict=True):
        engine, rescue = json.loads(answer), json.loads(json.dumps(rescue_tell.tell(kind, data)))
        assert engine == rescue, f"seed {SEED}: {kind} {data.hex()}"
        accepted[kind] += engine is not None
    assert all(accepted.values()), accepted
