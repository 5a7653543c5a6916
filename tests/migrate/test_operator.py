"""What an operator sees of long, begun and failing runs, and what can be set."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.differ import execute
from support.migrations import Command, rows, settings, up, url_of
from support.server import Server
from support.sessions import Running, eventually, holding, is_waiting, pid_of, ran, session

from foundry.database import Target, resolve
from foundry.errors import DeclarationError, HistoryConflict, LockTimeout, MigrationError
from foundry.migrate import Runner
from foundry.migrate.project import load
from foundry.migrate.showing import Long
from foundry.migrate.watching import Progress

# Each row is a block of its own, and takes its time.
SLOW = (
    "CREATE TABLE s (id int, filler text) WITH (fillfactor = 10)",
    "ALTER TABLE s ALTER filler SET STORAGE PLAIN",
    "INSERT INTO s SELECT i, repeat('x', 5000) FROM generate_series(1, 250) i",
    "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
    " 'BEGIN PERFORM pg_sleep(0.01); RETURN $1; END'",
)
BUILD = "CREATE INDEX CONCURRENTLY s_slow ON s (slow(id))"
ROWS = (
    "CREATE TABLE t (id serial PRIMARY KEY, n int)",
    "INSERT INTO t SELECT i FROM generate_series(1, 40) i",
)
FILL = "UPDATE t SET n = 1 WHERE n IS NULL"


def write(directory: Path, name: str, *steps: str, down: tuple[str, ...] = ()) -> Path:
    """Write a file whose steps stand alone."""
    lines = ["atomic = False", "", "", "def up(migrator, db):"]
    lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in steps]
    if down:
        lines += ["", "", "def down(migrator, db):"]
        lines += [f"    migrator.migrate(migrator.sql({step!r}))" for step in down]
    path = directory / f"{name}.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def to(target: Target, directory: Path, *, wait: str = "5") -> tuple[str, ...]:
    """Options that name a directory and nothing of foundry's."""
    return "--directory", str(directory), "--database", url_of(target), "--wait", wait


def test_json_shows_a_build_line_by_line_and_the_result_last(
    empty: Target, command: Command, directory: Path
) -> None:
    """A reader parses each line by itself."""
    execute(empty, *SLOW)
    write(directory, "0001_a", BUILD)
    ended = command("up", "--json", *to(empty, directory), code=0)
    *progress, result = [json.loads(line) for line in ended.out.splitlines()]
    assert ["0001_a"] == [done["name"] for done in result["applied"]]
    seen = [line["progress"] for line in progress]
    assert {'step 1 of 1 of "0001_a"'} == {line["step"] for line in seen}
    counted = [(s["done"], s["total"]) for s in seen if s["phase"].startswith("building index")]
    assert counted
    assert all(0 <= done <= total for done, total in counted)
    assert any(total for _, total in counted)


def test_json_shows_the_rows_and_the_rate_of_a_backfill(
    empty: Target, command: Command, directory: Path, tmp_path: Path
) -> None:
    """With a pause between its batches, which the options give."""
    execute(empty, *ROWS, "ANALYZE t")
    write(directory, "0001_a", FILL)
    (tmp_path / "setup.cfg").write_text("[foundry]\nbatch = 10\npause = 0\n")
    ended = command("up", "--json", "--pause", "0.7", *to(empty, directory), code=0)
    progress = [json.loads(line)["progress"] for line in ended.out.splitlines()[:-1]]
    seen = [line for line in progress if line["unit"] == "rows"]
    assert seen, ended.out
    assert {0} == {line["done"] % 10 for line in seen}
    assert any(line["rate"] and 5 < line["rate"] < 40 for line in seen), seen


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """An hour that was slow says nothing about how long the rest takes."""
    now = time.monotonic()
    seen = Progress(phase="filling", done=100, total=900, unit="rows")
    long = Long(what="x", seen=seen, lately=[(now - 3600, 0), (now - 50, 100), (now - 20, 100)])
    long.saw(replace(seen, done=300))
    assert 9 < (long.rate or 0) <= 10
    assert "filling, 300 of 900 rows (33 %), 10 a second, 0 s" == long.told()


def test_a_terminal_gets_a_bar_and_quiet_gets_nothing(
    empty: Target, directory: Path, tmp_path: Path
) -> None:
    """The bar goes when its step is over."""
    execute(empty, *SLOW)
    write(directory, "0001_a", BUILD, down=("DROP INDEX s_slow",))
    shown = on_terminal(tmp_path, "up", *to(empty, directory))
    assert "━" in shown
    assert 'step 1 of 1 of "0001_a"' in shown
    assert "blocks" in shown
    assert shown.rindex("━") < shown.index("applied 0001_a")
    on_terminal(tmp_path, "down", "-q", *to(empty, directory))
    assert "" == on_terminal(tmp_path, "up", "-q", *to(empty, directory))


def test_a_short_run_shows_no_progress(empty: Target, command: Command, directory: Path) -> None:
    """Neither lines nor JSON."""
    execute(empty, *ROWS)
    write(directory, "0001_a", FILL)
    ended = command("up", "--json", *to(empty, directory), code=0)
    assert 1 == len(ended.out.splitlines())


def test_without_a_terminal_a_line_comes_now_and_then(
    empty: Target,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A log of a deployment shows that it is alive, also where nothing can be counted."""
    from foundry.migrate import cli, showing

    monkeypatch.setattr(showing, "_LINE", 0.5)
    write(directory, "0001_a", "SELECT pg_sleep(2)")
    assert 0 == cli.main(["up", *to(empty, directory)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "working" in line]
    assert 2 <= len(lines) <= 4, lines
    assert all(line.startswith('step 1 of 1 of "0001_a": working, ') for line in lines)


def test_an_index_in_a_transaction_is_shown_too(empty: Target, directory: Path) -> None:
    """A file that is atomic builds them as well."""
    execute(empty, *SLOW)
    text = BUILD.replace(" CONCURRENTLY", "")
    (directory / "0001_a.py").write_text(
        f"def up(migrator, db):\n    migrator.migrate(migrator.sql({text!r}))\n"
    )
    seen: list[tuple[str, Progress | None]] = []
    with Runner.opened(
        empty, settings(directory), progress=lambda what, p: seen.append((what, p))
    ) as runner:
        runner.up()
    assert ('"0001_a"', None) == seen[-1]
    assert any(p and p.phase.startswith("building index") for _, p in seen)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pause = soon", '"pause" is "soon", not a number of seconds'),
        ("pause = -1", '"pause" is -1.0, not a number of seconds'),
        ("pause = nan", '"pause" is nan, not a number of seconds'),
        ("pause = 1e12", '"pause" is 1000000000000.0, not a number of seconds'),
        ("wait = inf", '"wait" is inf, not a number of seconds'),
        ("batch = 0", '"batch" is 0, not a number of rows'),
        ("batch = 2.5", '"batch" is "2.5", not a number of rows'),
        ("batch =", '"batch" is "", not a number of rows'),
    ],
)
def test_a_number_that_is_none_is_refused_by_its_key(tmp_path: Path, line: str, said: str) -> None:
    """Before anything is opened; no rows in a batch would skip the work."""
    config = tmp_path / "mine.cfg"
    config.write_text(f"[foundry]\ndirectory = x\n{line}\n")
    with pytest.raises(DeclarationError, match=said.replace("+", r"\+")):
        load(config=config)


def test_a_list_without_models_is_not_taken_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it is empty."""
    (tmp_path / "nothing_yet.py").write_text("MODELS = []\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DeclarationError, match=r'^"nothing_yet:MODELS" has no models'):
        load(models="nothing_yet:MODELS", directory=tmp_path)


def test_options_win_over_the_section(tmp_path: Path) -> None:
    """Each by itself."""
    config = tmp_path / "mine.cfg"
    config.write_text("[foundry]\ndirectory = x\nwait = 1\npause = 2\nbatch = 3\n")
    chosen = load(config=config, pause=0.0).settings
    assert (1.0, 0.0, 3) == (chosen.wait, chosen.pause, chosen.batch)


@pytest.mark.parametrize("option", ["--wait", "--pause"])
def test_an_option_that_is_no_number_names_itself(command: Command, option: str) -> None:
    """In one line, behind the usage."""
    ended = command("up", option, "soon", code=2)
    assert f'argument {option}: "soon" is not a number of seconds' in ended.err.splitlines()[-1]


def test_status_and_dry_run_tell_a_file_that_stands_in_its_middle(
    empty: Target, command: Command, directory: Path
) -> None:
    """How far it is, and what the next up does."""
    execute(empty, *ROWS)
    write(directory, "0001_a", "UPDATE t SET n = id", "SELECT nowhere", "DROP TABLE t")
    options = to(empty, directory)
    command("up", *options, code=2)
    said = '"0001_a" stands in the middle of up, 1 of 3 steps done: the next up goes on with step 2'
    assert said in command("status", *options, code=1).out.splitlines()
    assert said in command("up", "--dry-run", *options, code=0).out.splitlines()
    ended = command("status", "--json", *options, code=1)
    wanted = {"name": "0001_a", "way": "up", "done": 1, "total": 3}
    wanted |= {"undoing": False, "refused": None}
    assert [wanted] == json.loads(ended.out)["begun"]
    ended = command("up", "--dry-run", "--json", *options, code=0)
    assert [wanted] == json.loads(ended.out)["begun"]
    assert ["SELECT nowhere;", "DROP TABLE t;"] == json.loads(
        command("up", "--sql", "--json", *options, code=0).out
    )["pending"][0]["sql"]
    # Who makes the rest by hand records it, as it is said there.
    said = "applied by hand, these are then recorded with: python -m foundry.migrate stamp --begun"
    assert said in command("up", "--sql", *options, code=0).err.splitlines()
    command("stamp", "--begun", *options, code=0)
    assert "stands in the middle" not in command("status", *options, code=0).out


def test_status_tells_why_the_next_up_would_stop(
    empty: Target, command: Command, directory: Path
) -> None:
    """A file that was edited, made atomic or taken away in its middle; and one on its way down."""
    execute(empty, *ROWS)
    path = write(directory, "0001_a", "UPDATE t SET n = id", "SELECT nowhere")
    options = to(empty, directory)
    command("up", *options, code=2)
    text = path.read_text()
    for changed, said in (
        (text.replace("n = id", "n = 3"), "step 1 of .* was done by an earlier run"),
        (text.replace("atomic = False", ""), "put atomic = False back"),
    ):
        path.write_text(changed)
        (line,) = json.loads(command("status", "--json", *options, code=1).out)["begun"]
        assert said.split(" .* ")[-1] in line["refused"]
        for dry in ((), ("--dry-run",)):
            if dry and "earlier" in said:
                continue
            assert said.split(" .* ")[-1] in command("up", *dry, *options, code=3).err
    path.unlink()
    assert "its file is not there: restore it" in command("status", *options, code=1).out
    refused = command("stamp", *options, code=3).err
    execute(empty, "DELETE FROM" + refused.partition("and DELETE FROM")[2])
    command("status", *options, code=0)
    assert [(1, 1)] == rows(empty, "SELECT id, n FROM t WHERE id = 1")


def test_a_file_in_its_middle_is_neither_stamped_nor_deleted_by_the_way(
    empty: Target, command: Command, directory: Path
) -> None:
    """Who did the rest by hand says so; verify and generate know that it is there."""
    execute(empty, *ROWS)
    write(directory, "0001_a", "UPDATE t SET n = id", "SELECT nowhere")
    options = to(empty, directory)
    command("up", *options, code=2)
    stands = '"0001_a" stands in the middle of up, 1 of 2 steps done'
    assert stands in command("verify", *options, code=1).out
    advice = command("generate", "more", *options, code=3).err
    assert "run up first" in advice
    assert "delete" not in advice
    assert f"{stands}: run up, which goes on with it" in command("stamp", *options, code=3).err
    command("stamp", "--begun", *options, code=0)
    assert [] == json.loads(command("status", "--json", *options, code=0).out)["begun"]


def test_status_names_the_run_that_is_at_it(
    empty: Target, command: Command, directory: Path
) -> None:
    """What stands in its middle because it is being done is no wreck."""
    write(directory, "0001_a", "CREATE TABLE a ()", "CREATE INDEX CONCURRENTLY i ON held (id)")
    execute(empty, "CREATE TABLE held (id int)")
    options = to(empty, directory, wait="30")
    with holding(empty, "INSERT INTO held VALUES (1)") as other:
        going = threading.Thread(target=lambda: up(empty, directory))
        going.start()
        eventually(lambda: "i" in {name for (name,) in rows(empty, INDEXES)})
        shown = command("status", *options, code=1).out
        pid = json.loads(command("status", "--json", *options, code=1).out)["running"]
        ran(other, "COMMIT")
    going.join()
    assert (
        f'"0001_a" stands in the middle of up, 1 of 2 steps done: server process {pid} is at it'
        in shown
    )
    assert json.loads(command("status", "--json", *options, code=0).out)["running"] is None


INDEXES = "SELECT relname FROM pg_class WHERE relkind = 'i'"


def test_status_shows_the_table_also_where_up_refuses(
    empty: Target, command: Command, directory: Path
) -> None:
    """Which of the files is meant is seen at once."""
    for name in ("0002_b", "0003_c", "0004_d"):
        write(directory, name, f"CREATE TABLE {name[-1]} ()")
    options = to(empty, directory)
    command("up", *options, code=0)
    write(directory, "0001_a", "CREATE TABLE a ()")
    late = command("status", *options, code=1).out
    assert "older than applied ones" in next(x for x in late.splitlines() if "0001_a" in x)
    (directory / "0003_c.py").unlink()
    write(directory, "0004_d", "CREATE TABLE e ()")
    ended = command("status", *options, code=3)
    shown = {line.split()[0]: line for line in ended.out.splitlines() if line[:4].isdigit()}
    assert "its file is not there" in shown["0003_c"]
    assert "edited after it was applied" in shown["0004_d"]
    assert 'error: "0004_d" was edited' in ended.err
    values = json.loads(command("status", "--json", *options, code=3).out.splitlines()[0])
    assert ["0003_c"] == values["gone"]
    assert 2 == len(values["conflicts"])


def test_a_dry_run_refuses_what_up_refuses(
    empty: Target, command: Command, directory: Path
) -> None:
    """A file that cannot be loaded, for one."""
    write(directory, "0001_a", "CREATE TABLE a ()")
    (directory / "0002_b.py").write_text("import nothing_like_it\n")
    options = to(empty, directory)
    assert command("up", *options, code=2).err == command("up", "--dry-run", *options, code=2).err


def test_a_refused_file_undoes_nothing_of_itself(empty: Target, directory: Path) -> None:
    """And nothing before it is applied: a refusal changes nothing."""
    execute(empty, *ROWS, "CREATE TABLE u ()")
    add = "ALTER TABLE {} ADD COLUMN m int"
    path = write(directory, "0002_b", add.format("t"), add.format("u"))
    with holding(empty, "SELECT FROM u"), pytest.raises(LockTimeout):
        impatient(empty, directory)
    path.write_text(path.read_text().replace("t ADD COLUMN m int", "t ADD COLUMN m bigint"))
    write(directory, "0001_a", "CREATE TABLE early ()")
    with pytest.raises(HistoryConflict, match='step 1 of "0002_b" was done'):
        up(empty, directory)
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'm'"
    assert [("m",)] == rows(empty, columns)
    assert [] == rows(empty, "SELECT FROM pg_class WHERE relname = 'early'")


def impatient(target: Target, directory: Path, wait: float = 0.3) -> None:
    """Apply a directory without waiting for long."""
    with Runner.opened(target, settings(directory, wait=wait)) as runner:
        runner.up()


def test_down_in_its_middle_is_told_and_up_refused(
    empty: Target, command: Command, directory: Path
) -> None:
    """The next down goes on."""
    down = ("UPDATE t SET n = 0", "SELECT nowhere")
    execute(empty, *ROWS)
    write(directory, "0001_a", "SELECT 1", down=down)
    options = to(empty, directory)
    command("up", *options, code=0)
    command("down", *options, code=2)
    said = "stands in the middle of down, 1 of 2 steps done: run down again"
    assert said in command("status", *options, code=1).out
    assert "run down again first" in command("up", *options, code=3).err


def test_an_undoing_that_was_cut_short_is_told(
    empty: Target, command: Command, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next up finishes it, and begins anew."""
    execute(empty, *ROWS)
    fails = "DO $$ BEGIN RAISE 'no'; END $$"
    path = write(directory, "0001_a", "ALTER TABLE t ADD CONSTRAINT c CHECK (id > 0)", fails)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("foundry.migrate.takeback._undo", interrupted)
        with pytest.raises(KeyboardInterrupt):
            up(empty, directory)
    said = "0 of 2 steps done: the next up finishes undoing what it did, then goes on with step 1"
    assert said in command("status", *to(empty, directory), code=1).out
    path.write_text(path.read_text().replace("id > 0", "id > -1").replace("RAISE 'no'", "NULL"))
    assert ("0001_a",) == up(empty, directory)


def test_an_undoing_that_waited_in_vain_keeps_the_steps(empty: Target, directory: Path) -> None:
    """It is said that they stand, and who was in the way."""
    execute(empty, *ROWS)
    fails = "DO $$ BEGIN PERFORM pg_sleep(2); RAISE 'no'; END $$"
    write(directory, "0001_a", "ALTER TABLE t ADD CONSTRAINT c CHECK (id > 0)", fails)
    with holding(empty, name="report") as holder:
        reader = threading.Timer(1.0, lambda: ran(holder, "SELECT FROM t"))
        reader.start()
        wanted = r'no; 1 of its 2 steps stand, .* step 2 \(they could not be undone: .*"report"'
        with pytest.raises(MigrationError, match=wanted):
            impatient(empty, directory)
        reader.join()
    with Runner.opened(empty, settings(directory)) as runner:
        assert not runner.begun()[0].undoing


def test_a_lock_time_out_says_what_stands_and_what_to_do(empty: Target, directory: Path) -> None:
    """In this order: what happened, what stands, what to do; nothing is undone."""
    execute(empty, *ROWS, "CREATE TABLE u ()")
    write(directory, "0001_a", "ALTER TABLE t ADD COLUMN m int", "ALTER TABLE u ADD COLUMN m int")
    with holding(empty, "SELECT FROM u", name="report") as holder:
        pid = holder.info.backend_pid
        with pytest.raises(LockTimeout) as caught:
            impatient(empty, directory)
    happened, stands, remedy = str(caught.value).split("; ")
    which = 'step 2 of 2 of "0001_a" (ALTER TABLE u ADD COLUMN m int)'
    assert happened.startswith(f"{which} waited 0.3 s for a lock: server process")
    assert "1 of its 2 steps stand, and the next up goes on with step 2" == stands
    assert remedy.startswith("wait for it to end, end that (SELECT pg_terminate_backend")
    assert f"({pid})" in remedy
    up(empty, directory)


def test_an_atomic_file_that_waited_in_vain_says_that_nothing_stands(
    empty: Target, directory: Path
) -> None:
    """It is run whole again."""
    execute(empty, *ROWS)
    text = "ALTER TABLE t ADD COLUMN m int"
    (directory / "0001_a.py").write_text(
        f"def up(migrator, db):\n    migrator.migrate(migrator.sql({text!r}))\n"
    )
    with (
        holding(empty, "SELECT FROM t"),
        pytest.raises(
            LockTimeout,
            match=r'^"0001_a" \(ALTER TABLE t ADD COLUMN m int\) waited 0\.3 s .*; nothing of it '
            r"was kept; wait for it to end",
        ),
    ):
        impatient(empty, directory)


def test_ctrl_c_says_what_stands(empty: Target, directory: Path, tmp_path: Path) -> None:
    """And the next run goes on there."""
    execute(empty, *ROWS)
    path = write(directory, "0001_a", "UPDATE t SET n = id", "SELECT pg_sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry.migrate", "up", *to(empty, directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell's background jobs, and what they start, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    asked = "SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sl%' AND state = 'active'"
    eventually(lambda: rows(empty, asked))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert 130 == process.returncode
    assert '1 of the 2 steps of "0001_a" stand, and the next up goes on with step 2' in out
    assert "error: interrupted; the same command takes up where this one stopped\n" == err
    path.write_text(path.read_text().replace("pg_sleep(60)", "1"))
    assert ("0001_a",) == up(empty, directory)


def test_planning_batches_waits_for_a_lock_no_longer_than_it_may(
    empty: Target, directory: Path
) -> None:
    """Even to look at a table needs a lock; who is in the way is named."""
    execute(empty, *ROWS)
    write(directory, "0001_a", FILL)
    with holding(empty, "LOCK TABLE t", name="report"):
        started = time.monotonic()
        with pytest.raises(LockTimeout, match=r'^step 1 of 1 of "0001_a" \(.*\) waited .*"report"'):
            impatient(empty, directory, wait=1.0)
        assert time.monotonic() - started < 10


def test_no_other_statement_waits_for_ever(empty: Target, directory: Path) -> None:
    """What a file asks before it is applied, for one."""
    execute(empty, *ROWS)
    (directory / "0001_a.py").write_text(
        "checks = (('c', 'SELECT id FROM t WHERE n = 3'),)\n\n\n"
        "def up(migrator, db):\n    migrator.migrate(migrator.sql('SELECT 1'))\n"
    )
    with (
        holding(empty, "LOCK TABLE t"),
        pytest.raises(
            MigrationError, match=r'"c" cannot be checked: .* another session holds the lock'
        ),
    ):
        impatient(empty, directory)


def on_terminal(folder: Path, *words: str) -> str:
    """Run a command on a pseudo-terminal; returns what it showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "foundry.migrate", *words],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "150", "NO_COLOR": "1"},
    )
    os.close(slave)
    shown = bytearray()
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # Linux says that all have closed it in this way
            piece = b""
        if not piece:
            break
        shown += piece
    os.close(master)
    assert 0 == process.wait(30), shown
    return shown.decode()


def test_a_failing_step_and_its_statement_are_named(empty: Target, directory: Path) -> None:
    """Without what it says of rows."""
    execute(empty, *ROWS)
    write(directory, "0001_a", "SELECT 1", "INSERT INTO t VALUES (1, 'Anna')")
    named = r'^"0001_a" up failed at step 2 of 2 \(INSERT INTO t VALUES \(\?, \?\)\): invalid input'
    with pytest.raises(MigrationError, match=named):
        up(empty, directory)


def test_json_says_who_is_in_the_way_and_what_went_wrong(
    empty: Target, command: Command, directory: Path
) -> None:
    """On stdout, the error in the place of the result."""
    execute(empty, *ROWS)
    write(directory, "0001_a", "ALTER TABLE t ADD COLUMN m int")
    with holding(empty, "SELECT FROM t", name="report") as holder:
        pid = holder.info.backend_pid
        ended = command("up", "--json", "--wait", "3", *to(empty, directory), code=2)
    *progress, result = [json.loads(line) for line in ended.out.splitlines()]
    waits = [line["progress"]["waiting"] for line in progress if line["progress"]["waiting"]]
    assert (pid, "report") == (waits[-1][0]["pid"], waits[-1][0]["application"])
    assert "SELECT FROM t" == waits[-1][0]["query"]
    assert result["error"].startswith('step 1 of 1 of "0001_a" (ALTER TABLE t ADD COLUMN m int)')


@pytest.mark.parametrize("seen", [True, False])
def test_an_index_that_another_session_builds_is_left_to_it(
    empty: Target, directory: Path, server: Server, seen: bool
) -> None:
    """Also where this role may not see what that one does."""
    text = "CREATE INDEX CONCURRENTLY i ON t (n)"
    execute(empty, *ROWS)
    write(directory, "0001_a", text)
    with server.role() as role:
        execute(
            empty, f'ALTER TABLE t OWNER TO "{role}"', f'GRANT ALL ON SCHEMA public TO "{role}"'
        )
        plain = empty if seen else resolve(server.url_as(role, empty.dbname))
        with (
            holding(empty, "INSERT INTO t VALUES (1000000, 1)") as holder,
            session(empty) as builder,
            session(empty) as looker,
        ):
            running = Running(builder, text)
            eventually(lambda: is_waiting(looker, pid_of(builder)))
            eventually(lambda: ran(looker, "SELECT FROM pg_class WHERE relname = 'i'"))
            with pytest.raises(MigrationError, match='"i" is being built by another session'):
                up(plain, directory)
            ran(holder, "COMMIT")
            assert running.ended() is None
        execute(empty, f'REASSIGN OWNED BY "{role}" TO CURRENT_USER', f'DROP OWNED BY "{role}"')
    assert [(True,)] == rows(
        empty, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass"
    )


def test_a_statement_that_changes_rows_gets_through_on_a_busy_table(
    empty: Target, directory: Path
) -> None:
    """Though some row of it is always held for longer than a table may be waited for."""
    execute(empty, *ROWS)
    write(directory, "0001_a", "DELETE FROM t")
    over = threading.Event()

    def busy(first: int) -> None:
        with session(empty) as conn:
            number = first
            while not over.is_set():
                number = (number + 2) % 10 + 1
                ran(conn, "BEGIN")
                ran(conn, "UPDATE t SET n = 5 WHERE id = %s", number)
                ran(conn, "SELECT pg_sleep(0.25)")
                ran(conn, "COMMIT")

    threads = [threading.Thread(target=busy, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    try:
        with Runner.opened(empty, settings(directory, wait=6.0)) as runner:
            runner.up()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert [] == rows(empty, "SELECT FROM t")
