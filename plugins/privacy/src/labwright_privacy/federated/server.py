"""The server of a real federation: it hands out the weights of a round over HTTP and takes what clients answer.

GET /round?client=K&after=TICKET gives the weights of another round than that of the ticket as soon as there is one, its
number in the header Round and its ticket in Ticket; 204 if there is none yet, so that the client asks again; 410 with
the last weights once the run is over. POST /update?client=K&ticket=TICKET takes a client's update: 202, or 409 if the
round is over. A ticket is of one round of one process, so that a server that was resumed gives its round out anew. Both
want the headers Authorization: Bearer TOKEN, and Learned, the digest of what the client's data was read with, such as
its classes.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from labwright import LabwrightError
from torch import Tensor

from labwright_privacy.federated.local_training import ClientUpdate
from labwright_privacy.federated.messages import Unfit, most_bytes, update_read, written

_HELD = 20.0  # seconds that a client's question for the next round is kept, until it asks again
_IDLE = 60.0  # seconds without a byte after which a connection is closed
_MOST_CONNECTIONS = 256

Tensors = Mapping[str, Sequence[Tensor]]


class RoundServer:
    """Rounds of a number of clients, each known by its number from 0."""

    def __init__(self, clients: int, token: str, learned: str) -> None:
        self.clients, self.token, self.learned = clients, token, learned
        self.changed = threading.Condition()
        self.session = secrets.token_hex(8)
        self.number, self.body = -1, b""  # of the round that is open
        self.like: Tensors = {}
        self.present: set[int] = set(range(clients))  # those whose answer is waited for
        self.seen: set[int] = set()  # those who asked at least once
        self.begun: float | None = None  # when the first client took up the round
        self.open = self.ended = False
        self.updates: dict[int, ClientUpdate] = {}

    @contextmanager
    def listening(self, host: str, port: int) -> Iterator[str]:
        """Answer clients while this lasts; gives the address. Raises LabwrightError for one that can't be had."""
        handler = type("Handler", (_Handler,), {"rounds": self})
        try:
            server = _Bounded((host, port), handler)
        except OSError as error:
            raise LabwrightError(
                f"method.port: {host}:{port} can't be listened to: {error.strerror or error}. 0 takes a free port."
            ) from error
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{host}:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()

    def answers(self, number: int, tensors: Tensors, timeout: float) -> dict[int, ClientUpdate]:
        """Open a round and wait until all who are present have answered, or for `timeout` seconds.

        The first is for all clients, who come when they come: its time runs from when one takes it up. Whoever didn't
        answer isn't waited for in the next one, until it asks for a round again.
        """
        body = written(tensors)
        with self.changed:
            self.number, self.body, self.like = number, body, tensors
            self.updates, self.begun, self.open = {}, time.monotonic() if self.seen else None, True
            self.changed.notify_all()
            while not self.present <= self.updates.keys() or not self.updates:
                left = None if self.begun is None else self.begun + timeout - time.monotonic()
                if left is not None and left <= 0:
                    break
                # not for ever, so that Ctrl-C is heard
                self.changed.wait(0.5 if left is None else min(left, 0.5))
            self.open = False
            self.present &= self.updates.keys()
            return dict(sorted(self.updates.items()))

    def end(self, tensors: Tensors) -> None:
        """Give the last weights to whoever asks from now on, and wait until those who are present have them."""
        body = written(tensors)
        with self.changed:
            self.body, self.ended = body, True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.present, timeout=_HELD / 4)

    @property
    def ticket(self) -> str:
        return f"{self.session}-{self.number}"

    def next_round(self, client: int, after: str) -> tuple[int, bytes, dict[str, str]]:
        """What a client that asks for a round gets: a status, the weights, and headers."""
        with self.changed:
            self.present.add(client)
            self.seen.add(client)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.ended or self._due(after), timeout=_HELD)
            headers = {"Round": str(self.number), "Ticket": self.ticket}
            if self.ended:
                self.present.discard(client)
                self.changed.notify_all()
                return 410, self.body, headers
            if not self._due(after):
                return 204, b"", headers
            if self.begun is None:
                self.begun = time.monotonic()
                self.changed.notify_all()
            return 200, self.body, headers

    def _due(self, after: str) -> bool:
        return self.open and self.ticket != after and len(self.seen) == self.clients

    def take(self, client: int, ticket: str, body: bytes) -> tuple[int, str]:
        """Take an update, and say a status and what became of it."""
        with self.changed:
            like, is_open = self.like, self.open and self.ticket == ticket
        if not is_open:
            return 409, "the round is over"
        try:
            update = update_read(body, like)
        except Unfit as reason:
            return 400, f"the update isn't one of this model: {reason}"
        with self.changed:
            if not self.open or self.ticket != ticket:
                return 409, "the round is over"
            self.updates.setdefault(client, update)  # one that is sent twice counts once
            self.changed.notify_all()
        return 202, "taken"

    def most_bytes(self) -> int:
        with self.changed:
            return most_bytes(self.like)


class _Bounded(ThreadingHTTPServer):
    """One thread a connection, and so many connections at most."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.free.acquire()  # before there is a thread for it; given back when the thread ends
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server's."""


class _Refused(Exception):
    """A request that isn't answered, with the status that says so."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    rounds: RoundServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "labwright", ""
    timeout = _IDLE

    def do_GET(self) -> None:
        self._unless_refused(self._give)

    def do_POST(self) -> None:
        self._unless_refused(self._take)

    def _unless_refused(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except _Refused as refused:
            self.close_connection = True  # what was sent isn't read
            self._answer(refused.status, str(refused).encode())

    def _give(self) -> None:
        self._answer(*self.rounds.next_round(*self._asked("/round", "after")))

    def _take(self) -> None:
        client, ticket = self._asked("/update", "ticket")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise _Refused(411, "say how long the update is, by Content-Length")
        if int(length) > (most := self.rounds.most_bytes()):
            raise _Refused(413, f"an update of this model has {most:,} bytes at most, given {length}")
        status, words = self.rounds.take(client, ticket, self.rfile.read(int(length)))
        self._answer(status, words.encode())

    def _asked(self, path: str, name: str) -> tuple[int, str]:
        """The client and the ticket of a request that may be answered. Raises _Refused for any other."""
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {self.rounds.token}".encode()):
            raise _Refused(401, "the token isn't the server's")
        if self.headers.get("Learned", "") != self.rounds.learned:
            raise _Refused(
                412,
                "this client's data taught its task something else than the server's, such as other classes, another "
                "vocabulary or scaling, so that the same weights would mean something else; both need the same",
            )
        url = urlsplit(self.path)
        if url.path != path:
            raise _Refused(404, "there are GET /round and POST /update")
        values = parse_qs(url.query)
        try:
            client, ticket = int(values["client"][0][:12]), values.get(name, [""])[0]
        except (KeyError, ValueError) as error:
            raise _Refused(400, "say client=NUMBER") from error
        if not 0 <= client < self.rounds.clients:
            raise _Refused(400, f"clients are 0 to {self.rounds.clients - 1}, given {client}")
        return client, ticket

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing for each request: the run says what becomes of a round."""
