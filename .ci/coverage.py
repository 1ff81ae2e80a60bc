"""Checks tests/COVERAGE.md: every test that it names exists, and every row names one or says why there is none."""

import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
listed = subprocess.run(
    ["cargo", "test", "--workspace", "--all-features", "--quiet", "--", "--list"],
    cwd=root, capture_output=True, text=True, check=True,
).stdout
tests = {line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")}

failures = []
rows = 0
for line in (root / "tests/COVERAGE.md").read_text().splitlines():
    row = re.match(r"\| ([A-Z]*-?\d+) \|(.*)\|$", line)
    if not row:
        continue
    rows += 1
    named = re.findall(r"`([a-z0-9_]+(?:::[a-z0-9_]+)*)`", row[2].rsplit("|", 1)[-1])
    if not named and "not yet" not in line and "does not apply" not in line:
        failures.append(f"{row[1]}: names no test and gives no reason")
    for test in named:
        if test not in tests:
            failures.append(f"{row[1]}: there is no test {test}")

print(f"tests/COVERAGE.md: {rows} rows, {len(tests)} tests")
for failure in failures:
    print(failure)
sys.exit(bool(failures) or rows == 0)
