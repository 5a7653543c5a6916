"""What `status` tells: every file and where it stands, also where `up` would refuse."""

from __future__ import annotations

from dataclasses import dataclass, field

from foundry.migrate import externals, history, lock
from foundry.migrate.begun import Begun
from foundry.migrate.files import twins, two_of_a_number
from foundry.migrate.history import Standing, State
from foundry.migrate.runner import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A directory and a database, looked at together."""

    standings: tuple[Standing, ...]
    externals: tuple[externals.Progress, ...]
    begun: tuple[Begun, ...]
    at_work: int | None
    """The server process of a run that is going on."""
    gone: tuple[str, ...]
    """Files that were applied and are not there."""
    conflicts: tuple[str, ...]
    """What `up` refuses, a line each."""
    remarks: dict[str, str] = field(default_factory=dict)
    """What is to be said of a file, by its name."""

    @property
    def behind(self) -> bool:
        """Whether there is something for `up` to do."""
        pending = any(s.state is State.PENDING for s in self.standings)
        return pending or bool(self.begun) or any(p.pending for p in self.externals)

    def told(self, file: Begun) -> str:
        """Return what is to be said of a file that was begun."""
        if self.at_work is None:
            return file.told
        return f"{file.stands}: server process {self.at_work} is at it"


def survey(runner: Runner) -> Survey:
    """Look at everything and refuse nothing that can be shown."""
    standings, entries = runner.seen()
    found = dict(history.conflicts(standings, entries))
    doubled = twins([s.file for s in standings])
    names = {s.file.name for s in standings}
    remarks = {name: "edited after it was applied" for name in found if name in names}
    applied = [s.file.name for s in standings if s.entry]
    plan = [s for s in standings if s.state is State.PENDING]
    for name in history.late(plan, applied, runner.waited()):
        remarks[name] = "older than applied ones: give it the next number, or up --force-order"
    for before, after in doubled:
        remarks[before], remarks[after] = (f'has the number of "{n}"' for n in (after, before))
    return Survey(
        standings=standings,
        externals=runner.progress(),
        begun=runner.begun(),
        at_work=lock.holder(runner.database),
        gone=tuple(sorted(set(entries) - names)),
        conflicts=(*(two_of_a_number(*pair) for pair in doubled), *found.values()),
        remarks=remarks,
    )
