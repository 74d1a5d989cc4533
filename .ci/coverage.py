"""The gate on the coverage of Python: lines and branches, each for itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

# The goal of 90 for both is passed. A limit here is what has been reached, less what runs vary by: raise it with every test
# that moves the figure, never lower it.
LINES_PERCENT_MIN = 97.0
BRANCHES_PERCENT_MIN = 92.0


def main() -> int:
    """Print the report; return 1 if lines or branches are below their limit."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "coverage.json")
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)], check=True)
        totals = json.loads(report.read_text())["totals"]
    subprocess.run([sys.executable, "-m", "coverage", "report"], check=True)
    lines = 100 * totals["covered_lines"] / max(1, totals["num_statements"])
    branches = 100 * totals["covered_branches"] / max(1, totals["num_branches"])
    print(
        f"lines {lines:.1f} % (at least {LINES_PERCENT_MIN}), branches {branches:.1f} % (at least {BRANCHES_PERCENT_MIN})"
    )
    return 0 if lines >= LINES_PERCENT_MIN and branches >= BRANCHES_PERCENT_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
