"""Ctrl-C, SIGTERM or SIGHUP while the server works: the statement is cancelled, not waited for."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2.extensions import connection

# Windows has no SIGHUP.
_ENDING = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))


@contextmanager
def cancelling(conn: connection) -> Iterator[None]:
    """Cancel what `conn` runs when SIGINT, SIGTERM or SIGHUP comes during the block.

    libpq waits for the server without looking at signals, and Python's own handler runs
    only when it returns. The wake-up descriptor is written to at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread, which will not be in libpq then
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader, conn), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, conn: connection) -> None:
    while number := reader.recv(1):
        if number[0] in _ENDING:
            # The connection may just have been closed: then there is nothing to cancel.
            with suppress(psycopg2.Error):
                conn.cancel()
