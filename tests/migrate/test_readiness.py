"""A run that cannot succeed is refused before it changes anything."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from support import bouncer
from support.bouncer import Crowd, bouncing
from support.migrations import rows, url_of, write
from support.server import Server

from foundry.database import Database, Target, resolve
from foundry.errors import MigrationError
from foundry.migrate.files import MigrationFile, read_directory
from foundry.migrate.locked import locked
from foundry.migrate.modes import Work
from foundry.migrate.pooling import require_direct
from foundry.migrate.readiness import require_ready
from foundry.migrate.space import WAL, Need, Room, Size, needs, notes, refuse_lack, spoken, with_wal

MB = 1024**2
GB = 1024**3


@contextmanager
def session(target: Target) -> Iterator[Database]:
    """One connection, as a run has it."""
    database = Database(target, pool_size=1, max_overflow=0)
    try:
        with database.connection_context():
            yield database
    finally:
        database.close_all()


def direct(target: Target) -> None:
    with session(target) as database:
        require_direct(database, target)


def ready(target: Target, *files: MigrationFile) -> tuple[str, ...]:
    with session(target) as database:
        return require_ready(database, target, files, namespace="public", table="schema_migration")


def headed(directory: Path, *heads: str, up: str = "SELECT 1") -> tuple[MigrationFile, ...]:
    """Write a file for each head."""
    for number, head in enumerate(heads, start=1):
        write(directory, f"{number:04d}_a", up, head=head)
    return read_directory(directory)


def execute(target: Target, *statements: str) -> None:
    with closing(psycopg2.connect(**target.params)) as conn:
        conn.autocommit = True
        for statement in statements:
            conn.cursor().execute(statement)


# A pooler in between.


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another account may enter and write to."""
    found = Path(tempfile.mkdtemp(prefix="foundry-ready-", dir="/tmp"))
    found.chmod(0o777)
    yield found
    shutil.rmtree(found)


needs_bouncer = pytest.mark.skipif(bouncer.PROGRAM is None, reason="needs pgbouncer")


def test_a_session_of_the_servers_own_costs_one_question(empty: Target) -> None:
    """And no second connection."""
    with session(empty) as database:
        asked: list[object] = []
        ask = database.execute_sql

        def listen(*words: object) -> object:
            asked.append(words)
            return ask(*words)

        database.execute_sql = listen
        require_direct(database, empty)
        assert 1 == len(asked)


@needs_bouncer
@pytest.mark.parametrize("size", [1, 2, 20])
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
@pytest.mark.parametrize("busy", [0, 10])
def test_only_a_pooler_of_sessions_is_as_good_as_none(
    empty: Target, folder: Path, mode: str, size: int, busy: int
) -> None:
    """Whether the pool is idle, crowded or as small as can be."""
    with bouncing(folder, empty, mode, size) as url:
        crowd = Crowd(url, busy, transactions=mode != "statement")
        target = resolve(url)
        for _ in range(2 if mode == "session" else 6):
            if mode == "session":
                direct(target)
            else:
                with pytest.raises(MigrationError, match="pool_mode = session"):
                    direct(target)
        crowd.end()
    crowd.join()


@needs_bouncer
@pytest.mark.parametrize(
    "setting",
    ["server_round_robin = 1", "server_reset_query_always = 1", "server_check_delay = 0"],
)
def test_the_order_of_the_pool_hides_nothing(empty: Target, folder: Path, setting: str) -> None:
    """Also where many server sessions lie idle."""
    with bouncing(folder, empty, "transaction", 20, setting) as url:
        clients = [psycopg2.connect(url) for _ in range(5)]
        for client in clients:
            client.cursor().execute("SELECT 1")
        for client in clients:
            client.close()
        for _ in range(5):
            with pytest.raises(MigrationError, match="gives each transaction another"):
                direct(resolve(url))


@needs_bouncer
def test_the_refusal_names_the_pooler_and_no_password(empty: Target, folder: Path) -> None:
    """Host and port say which URL is meant."""
    with bouncing(folder, empty, "transaction", 2) as url:
        target = resolve(url)
        with pytest.raises(MigrationError) as caught:
            direct(target)
    assert 2 == caught.value.exit_code
    assert target.where in str(caught.value)
    assert bouncer.PASSWORD not in repr(caught.value)


@needs_bouncer
def test_what_cannot_be_told_is_refused(empty: Target, folder: Path) -> None:
    """A pooler that lets no second client in."""
    with bouncing(folder, empty, "session", 2, "max_client_conn = 1") as url:
        with pytest.raises(MigrationError, match="cannot be told whether the pooler on") as caught:
            direct(resolve(url))
        assert bouncer.PASSWORD not in str(caught.value)
        assert "server itself" in str(caught.value)


@needs_bouncer
def test_nothing_is_left_on_the_sessions_of_the_pool(empty: Target, folder: Path) -> None:
    """No setting, no lock, no open transaction, nothing prepared."""
    question = (
        "SELECT pg_backend_pid(), (SELECT array_agg(name || '=' || setting ORDER BY name)"
        " FROM pg_settings WHERE source = 'session' AND name <> 'application_name'),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
        " (SELECT count(*) FROM pg_prepared_statements)"
    )
    with (
        bouncing(folder, empty, "transaction", 1) as url,
        closing(psycopg2.connect(url)) as client,
    ):
        client.autocommit = True
        cursor = client.cursor()
        cursor.execute(question)
        before = cursor.fetchone()
        with pytest.raises(MigrationError):
            direct(resolve(url))
        cursor.execute(question)
        assert before == cursor.fetchone()


# A server that takes no writes.


def account(socket: str) -> dict[str, int]:
    """Who owns the server's files, as subprocess takes it; root cannot run PostgreSQL."""
    owner = os.stat(socket)
    return {} if os.geteuid() else {"user": owner.st_uid, "group": owner.st_gid}


@contextmanager
def serving(programs: Path, data: Path, folder: Path, who: dict[str, int]) -> Iterator[Target]:
    """A server on a data directory, with its socket in `folder`."""
    command = [
        programs / "postgres", "-D", data, "-c", "listen_addresses=", "-c", "port=5432",
        "-c", f"unix_socket_directories={folder}", "-c", "fsync=off", "-c", "shared_buffers=16MB",
    ]  # fmt: skip
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd="/", **who)  # type: ignore[call-overload]
    try:
        target = resolve(f"postgresql://boss@/postgres?host={folder}&port=5432")
        deadline = time.monotonic() + 60
        while True:
            try:
                rows(target, "SELECT 1")
                break
            except psycopg2.OperationalError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield target
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(30)


@dataclass(frozen=True)
class Cluster:
    """A small server that is not running, and the programs to do things with it."""

    programs: Path
    folder: Path
    who: dict[str, int]

    def run(self, program: str, name: str, *words: object) -> None:
        """Run a program of PostgreSQL on one of the data directories."""
        command = [self.programs / program, "-D", self.folder / name, *map(str, words)]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self.who)  # type: ignore[call-overload]

    @contextmanager
    def serving(self, name: str) -> Iterator[Target]:
        """Run a server on one of the data directories."""
        with serving(self.programs, self.folder / name, self.folder, self.who) as target:
            yield target


@pytest.fixture
def cluster(server: Server, folder: Path) -> Cluster:
    """A server of the test's own, with its data in "primary"."""
    home = resolve(server.url("postgres"))
    socket = home.params.get("host", "")
    if not socket.startswith("/"):
        pytest.skip("needs an account that may run a server here")
    # The account of that server may run those of the wheel only where they were copied to.
    ((programs,),) = rows(home, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
    found = Cluster(Path(str(programs)), folder, account(socket))
    found.run("initdb", "primary", "-U", "boss", "-A", "trust", "--no-sync")
    return found


@pytest.fixture
def standby(cluster: Cluster) -> Iterator[Target]:
    """The standby of a server that is gone by now."""
    if not (cluster.programs / "pg_basebackup").exists():
        pytest.skip("needs pg_basebackup")
    with cluster.serving("primary"):
        where = ("-h", cluster.folder, "-p", "5432", "-U", "boss")
        cluster.run("pg_basebackup", "standby", *where, "-c", "fast", "-R", "--no-sync")
    with cluster.serving("standby") as target:
        yield target


def test_a_standby_is_refused(standby: Target) -> None:
    """It says what to use instead."""
    with pytest.raises(MigrationError, match=r"a standby .*URL of its primary"):
        ready(standby)


def test_a_read_only_database_is_refused_and_the_remedy_works(empty: Target) -> None:
    """The statement in the message is the one that helps."""
    name = f'"{empty.dbname}"'
    execute(empty, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(MigrationError, match="set by database") as caught:
        ready(empty)
    remedy = str(caught.value).partition("): ")[2]
    execute(empty, *remedy.split("; "))
    assert () == ready(empty)


def test_a_read_only_session_or_transaction_is_refused(empty: Target) -> None:
    """Both are named, with who set them."""
    url = url_of(empty) + "&options=-c%20default_transaction_read_only%3Don"
    with pytest.raises(MigrationError, match="options of the URL"):
        ready(resolve(url))
    with session(empty) as database, database.atomic():
        database.execute_sql("SET TRANSACTION READ ONLY")
        with pytest.raises(MigrationError, match='"transaction_read_only"'):
            require_ready(database, empty, (), namespace="public", table="schema_migration")


# Privileges.


@pytest.fixture
def guest(empty: Target, server: Server) -> Iterator[Target]:
    """A database for a role that may connect to it and create in `public`, owning nothing."""
    with server.role() as role:
        execute(empty, f'GRANT CREATE ON SCHEMA public TO "{role}"')
        yield resolve(server.url_as(role, empty.dbname))
        execute(empty, f'DROP OWNED BY "{role}"')


def test_the_history_needs_a_place(empty: Target, guest: Target) -> None:
    """CREATE in its namespace while it is not there, writing to it once it is."""
    assert () == ready(guest)
    execute(empty, f'REVOKE CREATE ON SCHEMA public FROM "{guest.user}"')
    with pytest.raises(MigrationError, match='may not create in schema "public": GRANT') as caught:
        ready(guest)
    assert guest.user in str(caught.value)
    execute(empty, "CREATE TABLE schema_migration (); CREATE TABLE schema_migration_step ()")
    with pytest.raises(MigrationError, match="may not write the history") as caught:
        ready(guest)
    for name in ("schema_migration", "schema_migration_step"):
        execute(empty, f'GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO "{guest.user}"')
    assert () == ready(guest)
    execute(empty, "ALTER TABLE schema_migration ADD id serial")
    with pytest.raises(MigrationError, match="GRANT USAGE ON SEQUENCE") as caught:
        ready(guest)
    execute(empty, "GRANT USAGE" + str(caught.value).partition("GRANT USAGE")[2])
    assert () == ready(guest)


def test_a_namespace_that_files_create_in_must_be_open(
    empty: Target, guest: Target, directory: Path
) -> None:
    """One that a file makes is not there to be asked."""
    execute(empty, 'CREATE SCHEMA "Closed"')
    files = headed(directory, """tables = (("", '"Closed".a'), ("", "made.b"), ("", "c"))""")
    with pytest.raises(MigrationError, match='may not create in schema "Closed"'):
        ready(guest, *files)
    assert () == ready(empty, *files)


LOCKS = """locks = (
    ("owned", "ACCESS EXCLUSIVE", "instant"),
    ("foreign_a", "ACCESS EXCLUSIVE", "instant"),
    ('"Foreign b"', "SHARE UPDATE EXCLUSIVE", "build"),
    ("read_only", "ROW SHARE", "scan"),
    ("not_there", "ACCESS EXCLUSIVE", "instant"),
    ("no name at all.", "ACCESS EXCLUSIVE", "instant"),
)"""


def test_tables_of_others_are_listed(
    empty: Target, guest: Target, directory: Path, server: Server
) -> None:
    """Until the role is a member of their owner."""
    execute(guest, "CREATE TABLE owned ()")
    files = headed(directory, LOCKS)
    with server.role() as owner:
        execute(
            empty,
            'CREATE TABLE foreign_a (); CREATE TABLE "Foreign b" (); CREATE TABLE read_only ()',
            f'ALTER TABLE foreign_a OWNER TO "{owner}"; ALTER TABLE "Foreign b" OWNER TO "{owner}"',
        )
        with pytest.raises(MigrationError) as caught:
            ready(guest, *files)
        assert (
            f'"{guest.user}" does not own "Foreign b", "foreign_a", which the files change: run '
            f'as the owner, or GRANT "{owner}" TO "{guest.user}"'
        ) == str(caught.value)
        server.admin(
            sql.SQL("GRANT {} TO {}").format(sql.Identifier(owner), sql.Identifier(guest.user))
        )
        assert () == ready(guest, *files)
        execute(empty, f'DROP OWNED BY "{owner}"')


def test_a_foreign_key_needs_no_ownership_of_the_table_it_references(
    empty: Target, guest: Target, directory: Path
) -> None:
    """REFERENCES is enough for making it, and nothing for dropping it; as the server has it."""
    execute(empty, "CREATE TABLE parent (id int PRIMARY KEY)")
    execute(guest, "CREATE TABLE child (id int)")
    add, drop = headed(
        directory,
        'locks = (("child", "SHARE ROW EXCLUSIVE", "instant"),'
        ' ("parent", "SHARE ROW EXCLUSIVE", "instant"))',
        'locks = (("child", "ACCESS EXCLUSIVE", "instant"),'
        ' ("parent", "ACCESS EXCLUSIVE", "instant"))',
    )
    with pytest.raises(MigrationError, match='does not own "parent"'):
        ready(guest, add)
    execute(empty, f'GRANT REFERENCES ON parent TO "{guest.user}"')
    assert () == ready(guest, add)
    execute(guest, "ALTER TABLE child ADD CONSTRAINT f FOREIGN KEY (id) REFERENCES parent")
    execute(empty, f'REVOKE REFERENCES ON parent FROM "{guest.user}"')
    assert () == ready(guest, drop)
    execute(guest, "ALTER TABLE child DROP CONSTRAINT f")
    with pytest.raises(MigrationError, match='does not own "parent"'):
        ready(guest, drop)


def test_a_namespace_that_may_not_be_looked_into_is_one_line(
    empty: Target, guest: Target, directory: Path
) -> None:
    """The server refuses even the question."""
    execute(empty, "CREATE SCHEMA closed; CREATE TABLE closed.a ()")
    files = headed(directory, 'locks = (("closed.a", "ACCESS EXCLUSIVE", "instant"),)')
    with pytest.raises(MigrationError, match="permission denied for schema closed; run it as"):
        ready(guest, *files)


# Names.


def test_tables_are_asked_for_by_the_names_they_have_now(directory: Path) -> None:
    """Though earlier files rename them; what a file makes is nobody's yet."""
    files = headed(
        directory,
        'tables = (("a", "b"), ("", "new"))\nlocks = (("a", "ACCESS EXCLUSIVE", "instant"),)',
        'tables = (("b", "C"),)\nlocks = (("b", "SHARE", "build"), ("new", "SHARE", "build"),)',
        'locks = (("C", "ACCESS EXCLUSIVE", "rewrite"), (\'s."T.x"\', "SHARE", "scan"))',
    )
    found = [(lock.file.number, lock.name, lock.work) for lock in locked(files)]
    assert [
        (1, '"a"', Work.INSTANT),
        (2, '"a"', Work.BUILD),
        (3, '"a"', Work.REWRITE),
        (3, '"s"."T.x"', Work.SCAN),
    ] == found


# Room: the part that is given the figures.


def need(
    size: int, *, file: str = "0001_a", work: Work = Work.REWRITE, tablespace: int = 1
) -> Need:
    return Need(file=file, table="public.messages", tablespace=tablespace, size=size, work=work)


def room(free: int, device: int = 1) -> Room:
    return Room(folder=f"/disk{device}", device=device, free=free)


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    """And what does fit is not, margin included."""
    with pytest.raises(MigrationError) as caught:
        refuse_lack([need(12 * GB)], {1: room(3 * GB)})
    assert (
        '"0001_a" needs about 13 GB for "public.messages" in "/disk1", where 3.0 GB are free: '
        "free space there and run up again"
    ) == str(caught.value)
    refuse_lack([need(12 * GB)], {1: room(14 * GB)})
    with pytest.raises(MigrationError):
        refuse_lack([need(12 * GB)], {1: room(12 * GB)})


def test_tablespaces_of_one_disk_share_it_and_those_of_two_do_not() -> None:
    """Space is the file system's."""
    both = [need(2 * GB), need(2 * GB, tablespace=2)]
    refuse_lack(both, {1: room(3 * GB), 2: room(3 * GB, 2)})
    with pytest.raises(MigrationError):
        refuse_lack(both, {1: room(3 * GB), 2: room(3 * GB)})


def test_a_rewrite_gives_its_space_back_and_an_index_keeps_it() -> None:
    """One file after the other."""
    refuse_lack([need(2 * GB), need(2 * GB, file="0002_b")], {1: room(3 * GB)})
    with pytest.raises(MigrationError, match='"0002_b"'):
        refuse_lack([need(2 * GB, work=Work.BUILD), need(2 * GB, file="0002_b")], {1: room(3 * GB)})


def test_the_log_needs_room_where_it_is() -> None:
    """Up to what it may still grow, though the table is on another disk."""
    logged = with_wal([need(12 * GB)], largest=GB)
    assert [(1, 12 * GB), (WAL, GB)] == [(n.tablespace, n.size) for n in logged]
    refuse_lack(logged, {1: room(20 * GB), WAL: room(2 * GB, 2)})
    with pytest.raises(MigrationError, match=r"about 1\.1 GB for the write-ahead log"):
        refuse_lack(logged, {1: room(20 * GB), WAL: room(GB, 2)})
    assert (need(GB),) == with_wal([need(GB)], largest=0)


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("CREATE INDEX ON messages (id)", 32_000_000),
        ("CREATE INDEX ON messages USING hnsw (e vector_l2_ops)", 1_500_000_000),
        ("CREATE INDEX ON messages USING IVFFlat (e vector_l2_ops)", 2_000_000_000),
    ],
)
def test_an_index_is_estimated_by_its_kind(directory: Path, up: str, expected: int) -> None:
    """A copy of every vector takes more than a key."""
    (lock,) = locked(headed(directory, 'locks = (("m", "SHARE", "build"),)', up=up))
    size = Size(tablespace=1, total=3 * GB, table=10**9, rows=10**6, heap=10**9)
    assert [(7, expected)] == [(n.tablespace, n.size) for n in needs(lock, [size], building=7)]


def test_the_notes_say_what_is_worth_saying() -> None:
    """In one line each."""
    built = need(GB, file="0002_b", work=Work.BUILD)
    assert (
        '"0001_a" rewrites about 12 GB of "public.messages"',
        '"0002_b" builds about 1.0 GB of index on "public.messages"',
    ) == notes([need(5 * GB), need(7 * GB, tablespace=2), built, need(MB, file="0003_c")])
    assert ["512 bytes", "1.5 kB", "12 GB", "2048 TB"] == [
        spoken(n) for n in (512, 1536, 12 * GB, 2048 * 1024 * GB)
    ]


# Room: on real disks.

REWRITE = 'locks = (("messages", "ACCESS EXCLUSIVE", "rewrite"),)'


def fill(target: Target, megabytes: int, where: str = "") -> None:
    """Make a table of about that size; text of one letter would be compressed away."""
    execute(
        target,
        f"CREATE TABLE messages (id int, body text STORAGE PLAIN) {where}"
        if rows(target, "SHOW server_version_num")[0] >= ("160000",)
        else f"CREATE TABLE messages (id int, body text) {where};"
        "ALTER TABLE messages ALTER body SET STORAGE PLAIN",
        "INSERT INTO messages SELECT n, repeat('x', 1000) "
        f"FROM generate_series(1, {megabytes * 1000}) AS n",
    )


@pytest.fixture
def small_disk(empty: Target, folder: Path) -> Iterator[Path]:
    """A disk of 48 MB that the server may use."""
    socket = empty.params.get("host", "")
    if sys.platform != "linux" or os.geteuid() != 0 or not socket.startswith("/"):
        pytest.skip("needs to mount a file system for a server on this machine")
    libc = ctypes.CDLL(None, use_errno=True)
    disk = folder / "disk"
    disk.mkdir()
    if libc.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=48m"):
        pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    try:
        owner = os.stat(socket)
        os.chown(disk, owner.st_uid, owner.st_gid)
        yield disk
    finally:
        assert 0 == libc.umount2(os.fsencode(disk), 0), os.strerror(ctypes.get_errno())


def test_a_full_disk_is_seen_before_the_rewrite(
    empty: Target, small_disk: Path, directory: Path
) -> None:
    """The tablespace's own disk counts, and the rewrite would have failed."""
    name = f"small_{os.getpid()}"
    files = headed(directory, REWRITE)
    execute(empty, f"CREATE TABLESPACE {name} LOCATION '{small_disk}'")
    try:
        fill(empty, 15, f"TABLESPACE {name}")
        assert () == ready(empty, *files)
        execute(empty, "INSERT INTO messages SELECT * FROM messages")
        with pytest.raises(MigrationError) as caught:
            ready(empty, *files)
        told = str(caught.value)
        assert 'for "messages" in "' + str(small_disk) in told
        assert "MB, where" not in told
        assert " MB are free" in told
        with pytest.raises(psycopg2.errors.DiskFull):
            execute(empty, "ALTER TABLE messages ALTER id TYPE bigint")
    finally:
        execute(empty, "DROP TABLE IF EXISTS messages", f"DROP TABLESPACE {name}")


def test_a_server_whose_disks_are_not_seen_gives_a_note(
    empty: Target, guest: Target, directory: Path
) -> None:
    """The role may not know where the data is."""
    fill(guest, 12)
    files = headed(directory, REWRITE)
    assert ('"0001_a" rewrites about 13 MB of "messages"',) == ready(guest, *files)
    assert () == ready(empty, *files)


def test_a_data_directory_that_is_another_servers_is_not_measured(
    cluster: Cluster, directory: Path
) -> None:
    """A server in a container may name a path that is somebody else's here."""
    with cluster.serving("primary") as target:
        fill(target, 12)
        files = headed(directory, REWRITE)
        assert () == ready(target, *files)
        lines = cluster.folder / "primary" / "postmaster.pid"
        lines.write_text(re.sub(r"\A\d+", str(os.getpid()), lines.read_text()))
        assert ('"0001_a" rewrites about 13 MB of "messages"',) == ready(target, *files)


def test_a_server_elsewhere_is_not_measured(empty: Target, directory: Path) -> None:
    """Whatever it calls its data directory."""
    fill(empty, 12)
    elsewhere = replace(empty, params={**empty.params, "host": "db.example.org"})
    files = headed(directory, REWRITE)
    with session(empty) as database:
        (note,) = require_ready(
            database, elsewhere, files, namespace="public", table="schema_migration"
        )
    assert note.startswith('"0001_a" rewrites about 13 MB')


def test_partitions_and_children_are_counted(guest: Target, directory: Path) -> None:
    """A partitioned table has no size of its own."""
    execute(
        guest,
        "CREATE TABLE messages (id int, body text) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF messages DEFAULT",
        "ALTER TABLE part ALTER body SET STORAGE PLAIN",
        "INSERT INTO messages SELECT n, repeat('x', 1000) FROM generate_series(1, 12000) AS n",
    )
    (note,) = ready(guest, *headed(directory, REWRITE))
    assert note.startswith('"0001_a" rewrites about 13 MB')


def test_a_table_that_is_locked_is_not_waited_for(empty: Target, directory: Path) -> None:
    """Its size can wait; the run itself will."""
    fill(empty, 1)
    files = headed(directory, REWRITE)
    with closing(psycopg2.connect(**empty.params)) as other:
        other.cursor().execute("LOCK messages IN ACCESS EXCLUSIVE MODE")
        (note,) = ready(empty, *files)
        assert 'room for "messages" was not checked' in note
    assert () == ready(empty, *files)
