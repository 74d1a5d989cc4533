"""SoftHSM2: a PKCS#11 token in a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.servers import install

PLACES = (Path("/usr/lib/softhsm/libsofthsm2.so"), *Path("/usr/lib").glob("*-linux-gnu/softhsm/libsofthsm2.so"))


def token(folder: Path, label: str, pin: str) -> Path:
    """Make a token under `folder` (whose `softhsm2.conf` SOFTHSM2_CONF must name); return the module."""
    program = install.debian("softhsm2-util", "softhsm2")
    (folder / "tokens").mkdir(parents=True)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    command = [program, "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", f"{pin}so"]
    environ = {**os.environ, "SOFTHSM2_CONF": str(config)}
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)
    return next(place for place in PLACES if place.exists())
