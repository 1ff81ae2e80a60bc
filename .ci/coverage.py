"""Checks tests/COVERAGE.md: every row is there, every row names a test or says why there is none, every test ran.

The arguments are the files that hold what `cargo test` printed.
"""

import pathlib
import re
import sys

# Each table is complete: prefix of the row's number, first and last number.
TABLES = [("", 1, 200), ("V-", 1, 96), ("S", 1, 16), ("R", 1, 14), ("B-", 1, 45), ("D", 1, 26)]

root = pathlib.Path(__file__).resolve().parent.parent
ran = set()
for log in sys.argv[1:]:
    for line in pathlib.Path(log).read_text(errors="replace").splitlines():
        # With --nocapture the outcome stands behind what the test prints; the run as a whole has succeeded.
        test = re.match(r"test (\S+) \.\.\. (?!ignored)", line)
        if test:
            ran.add(test[1])

failures = []
rows = []
for line in (root / "tests/COVERAGE.md").read_text().splitlines():
    row = re.match(r"\| ([A-Z]*-?\d+) \|(.*)\|$", line)
    if not row:
        continue
    rows.append(row[1])
    last = row[2].rsplit("|", 1)[-1]
    named = re.findall(r"`([a-z0-9_]+(?:::[a-z0-9_]+)*)`", last)
    if not named and not re.search(r"not yet: \w+|does not apply: \w+", last):
        failures.append(f"{row[1]}: names no test and gives no reason")
    for test in named:
        if test not in ran:
            failures.append(f"{row[1]}: the test {test} does not exist or did not run")

for prefix, first, last in TABLES:
    for number in range(first, last + 1):
        if rows.count(f"{prefix}{number}") != 1:
            failures.append(f"{prefix}{number}: stands there {rows.count(f'{prefix}{number}')} times")

print(f"tests/COVERAGE.md: {len(rows)} rows, {len(ran)} tests that ran")
for failure in failures:
    print(failure)
sys.exit(bool(failures))
