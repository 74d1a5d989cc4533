"""The Rust crates pass their own tests: one command is enough for all.

The extension crate has none: it is driven by the Python tests. `HOLDFAST_TEST_CARGO_PROFILE` chooses another profile.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Return an environment with cargo: the one on the path, or the one that the build fetched."""
    if shutil.which("cargo"):
        return dict(os.environ)
    from puccinialin import setup_rust

    with contextlib.redirect_stdout(io.StringIO()):
        return os.environ | setup_rust()


@pytest.mark.timeout(1800)
def test_the_crates_pass_their_tests():
    environ = environment()
    cargo = shutil.which("cargo", path=environ["PATH"])
    assert cargo
    profile = environ.get("HOLDFAST_TEST_CARGO_PROFILE", "fast")
    command = [cargo, "test", "--locked", "--workspace", "--exclude", "holdfast-python", "--profile", profile]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
