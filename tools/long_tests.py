"""Runs the long form of tests and keeps what came of it beside the benchmarks.

    python tools/long_tests.py NAME pytest's arguments

Writes benchmarks/results/NAME.json: how often each test ran and passed, its seconds, and what it has told by
`record_property`. Ctrl-C keeps what has ended.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import pytest

from results import write_result


class Outcomes:
    """A plugin of pytest that counts."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, Any]] = defaultdict(
            lambda: {"ran": 0, "passed": 0, "failed": [], "seconds": 0.0}
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or report.skipped:
            return
        name, _, seed = report.nodeid.rpartition("::")[2].partition("[")
        test = self.tests[name]
        test["ran"] += 1
        test["passed"] += report.passed
        test["seconds"] = round(test["seconds"] + report.duration, 1)
        if report.failed:
            test["failed"].append(seed.rstrip("]"))
        if report.user_properties:
            test.setdefault("told", []).append(dict(report.user_properties))


def _none_yet() -> dict[str, Any]:
    return {"ran": 0, "passed": 0, "failed": [], "seconds": 0.0}


def main() -> None:
    name, *arguments = sys.argv[1:]
    outcomes = Outcomes()
    pytest.main(["-q", "-p", "no:cacheprovider", *arguments], plugins=[outcomes])
    write_result(name, {"tests": dict(outcomes.tests)})


if __name__ == "__main__":
    main()
