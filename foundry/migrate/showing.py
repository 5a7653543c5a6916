"""How long steps are shown: a bar on a terminal, else a line now and then, or JSON lines."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from foundry.console import printable, say
from foundry.migrate.blockers import Blocker, named
from foundry.migrate.watching import WORKING, Progress

_BAR, _LINE, _JSON = 0.25, 10.0, 1.0
"""Seconds from one look to the next; what is over sooner is not shown."""
_LATELY = 10.0
"""Seconds that the rate is an average of."""

Shown = Callable[[str, "Progress | None"], None]


@dataclass(slots=True, kw_only=True)
class Long:
    """A step that is being done, as it was seen last."""

    what: str
    seen: Progress = WORKING
    began: float = field(default_factory=time.monotonic)
    lately: list[tuple[float, int]] = field(default_factory=list)
    """When it was how far, in this phase."""
    waits: tuple[Blocker, ...] = ()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def rate(self) -> float | None:
        """How much a second was done lately; None where nothing is counted."""
        if len(self.lately) < 2 or self.lately[-1][1] <= self.lately[0][1]:
            return None
        since, done = self.lately[0]
        return (self.seen.done - done) / (time.monotonic() - since)

    def saw(self, seen: Progress) -> None:
        """Note how far it is, or who is in the way."""
        if seen.waits is not None:
            self.waits = seen.waits
            return
        now = time.monotonic()
        if seen.phase != self.seen.phase:
            self.lately.clear()
        while len(self.lately) > 1 and self.lately[1][0] < now - _LATELY:
            del self.lately[0]
        self.lately.append((now, seen.done))
        self.seen = seen

    def values(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "step": self.what,
            "phase": self.seen.phase,
            "done": self.seen.done,
            "total": self.seen.total,
            "unit": self.seen.unit,
            "rate": None if self.rate is None else round(self.rate, 1),
            "seconds": round(self.seconds, 1),
            "waiting": [blocker.values() for blocker in self.waits],
        }

    def told(self) -> str:
        """Return what is counted, and how fast, in words."""
        seen = self.seen
        who = f"waiting for {named(self.waits[:1])}" if self.waits else seen.phase
        parts = [who]
        if seen.total:
            share = 100 * seen.done // seen.total
            parts.append(f"{seen.done:,} of {seen.total:,} {seen.unit} ({share} %)")
        elif seen.done:
            parts.append(f"{seen.done:,} {seen.unit}")
        if self.rate is not None:
            parts.append(f"{self.rate:,.0f} a second")
        return ", ".join([*parts, f"{self.seconds:.0f} s"])


@contextmanager
def shown(console: Console, *, quiet: bool, lines_of_json: bool) -> Iterator[Shown]:
    """Yield what takes the progress of a run; nothing of it is left to be shown at the end."""
    if quiet:
        yield lambda what, seen: None
        return
    view: _View
    if lines_of_json:
        view = _View(_JSON, _print_json)
    elif console.is_terminal and not console.is_dumb_terminal:
        view = _BarView(console)
    else:
        view = _View(_LINE, lambda long: say(console, f"{long.what}: {long.told()}"))
    with view.looking():
        yield view.take


def _print_json(long: Long) -> None:
    # One write, so that no other line comes into it; who does not read any more misses nothing.
    with suppress(OSError):
        sys.stdout.write(json.dumps({"progress": long.values()}) + "\n")
        sys.stdout.flush()


class _View:
    """Looks in a thread at the step that is being done, in equal intervals of its own time."""

    def __init__(self, every: float, show: Callable[[Long], None]) -> None:
        self._every = every
        self._show = show
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._over = False
        self._long: Long | None = None

    def take(self, what: str, seen: Progress | None) -> None:
        """Take what a run tells of itself, from any thread."""
        with self._lock:
            if seen is None:
                self._long = None
                self._ended()
            elif self._long is None or self._long.what != what:
                self._long = Long(what=what)
                self._changed.set()
            if self._long is not None and seen is not None and seen != WORKING:
                self._long.saw(seen)

    @contextmanager
    def looking(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look, name="foundry progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over = True
            self._changed.set()
            thread.join()
            self._ended()

    def _look(self) -> None:
        while not self._over:
            if self._changed.wait(self._every):
                # Another step: its time begins now.
                self._changed.clear()
                continue
            with self._lock:
                if self._long is not None:
                    self._show(self._long)

    def _ended(self) -> None:
        """Take away what shows a step that is over."""


class _BarView(_View):
    """A bar below the lines of a terminal, which goes when its step is over."""

    def __init__(self, console: Console) -> None:
        super().__init__(_BAR, self._draw)
        self._console = console
        self._bars: Bars | None = None

    def _draw(self, long: Long) -> None:
        with suppress(OSError):
            if self._bars is None:
                columns = (TextColumn("{task.description}", markup=False), BarColumn(None))
                told = TextColumn("{task.fields[told]}", markup=False)
                self._bars = Bars(
                    *columns, told, console=self._console, transient=True, auto_refresh=False
                )
                self._bars.add_task(printable(long.what), total=None, told="")
                self._bars.start()
            (task,) = self._bars.task_ids
            total = long.seen.total or None
            self._bars.update(
                task, total=total, completed=long.seen.done, told=printable(long.told())
            )
            self._bars.refresh()

    def _ended(self) -> None:
        if self._bars is not None:
            with suppress(OSError):
                self._bars.stop()
            self._bars = None
