"""A federation over HTTP: server and clients as processes, one of which is killed, and requests that are refused."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import labwright as lw
import pytest
import torch
from labwright_privacy.federated.client import Client
from labwright_privacy.federated.local_training import ClientUpdate
from labwright_privacy.federated.messages import update_written, written
from labwright_privacy.federated.server import RoundServer
from safetensors.torch import load_file, save

TOKEN = "a token of more than sixteen signs"
ROUNDS, PATIENCE = 3, 900

# A client that takes part in the first round, and in the second trains and never says what came of it.
SILENT = r"""
import sys, time
from labwright.cli import main
from labwright_privacy.federated import joining

class Silent(joining.Client):
    rounds = 0

    def send(self, ticket, update):
        self.rounds += 1
        if self.rounds == 2:
            sys.stderr.write("trained\n")
            sys.stderr.flush()
            time.sleep(300)  # it is killed long before
        return super().send(ticket, update)

joining.Client = Silent
sys.argv[0] = "labwright"
main()
"""


# A client that trains in the fourth round and keeps what came of it until a file is there.
HELD = r"""
import pathlib, sys, time
from labwright.cli import main
from labwright_privacy.federated import joining

class Held(joining.Client):
    rounds = 0

    def send(self, ticket, update):
        self.rounds += 1
        if self.rounds == 4:
            sys.stderr.write("trained\n")
            sys.stderr.flush()
            while not pathlib.Path("killed").exists():
                time.sleep(0.1)
        return super().send(ticket, update)

joining.Client = Held
sys.argv[0] = "labwright"
main()
"""


@pytest.fixture
def begun() -> Iterator[Any]:
    """Starts processes, which end with the test whatever comes of it."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_a_round_ends_without_a_client_that_is_killed_in_the_middle_of_it(tmp_path: Path, begun: Any) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    overrides = [
        f"train.steps={ROUNDS}",
        "method.clients=3",
        "method.per_round=3",
        'train.save_every="1 steps"',
        "train.keep=5",
    ]
    recipe = ["privacy/digits-federated", *overrides, "--token", str(token)]
    serve = ["serve", *recipe, "--clients", "3", "--timeout", "20", "--folder", "run", "--json"]
    server = begun("-m", "labwright", "federate", *serve, cwd=tmp_path)
    address = said_by(server, "serving").split()[4].rstrip(":")
    join = ["federate", "join", *recipe, "--server", address, "--share", "--json", "--client"]
    clients = [begun("-m", "labwright", *join, str(number), cwd=tmp_path) for number in (0, 1)]
    silent = begun("-c", SILENT, *join, "2", cwd=tmp_path)
    said_by(silent, "trained")
    silent.send_signal(signal.SIGKILL)

    outcome = json.loads(server.communicate(timeout=PATIENCE)[0])
    assert outcome["status"] == "finished"
    assert outcome["step"] == ROUNDS
    assert "round 2 ended without clients 2." in outcome["notes"]
    answers = [json.loads(client.communicate(timeout=PATIENCE)[0]) for client in clients]
    assert [answer["rounds"] for answer in answers] == [ROUNDS, ROUNDS]
    # all have the server's last weights, and measure the same with them
    assert all(answer["metrics"] == outcome["metrics"] for answer in answers)

    # the first round, in which all took part, is in every bit the one that is simulated in a process
    simulated = lw.Experiment.from_recipe("privacy/digits-federated", overrides).run(tmp_path / "simulated")
    first = [weights_after(folder, 1) for folder in (tmp_path / "run", simulated.folder)]
    assert first[0].keys() == first[1].keys()
    assert all(torch.equal(first[0][name], first[1][name]) for name in first[0])


@pytest.mark.long
@pytest.mark.timing
def test_a_server_that_is_killed_in_mid_round_and_resumed_ends_as_if_it_had_not_been(
    tmp_path: Path, begun: Any
) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    overrides = ["train.steps=5", "method.clients=2", "method.per_round=2", 'train.save_every="2 steps"']
    recipe = ["privacy/digits-federated", *overrides, "--token", str(token), "--json"]
    serve = ["serve", *recipe, "--clients", "2", "--port", str(port), "--folder", "run"]
    killed = begun("-m", "labwright", "federate", *serve, cwd=tmp_path)
    address = said_by(killed, "serving").split()[4].rstrip(":")
    join = ["federate", "join", *recipe, "--server", address, "--share", "--patience", str(PATIENCE), "--client"]
    clients = [begun("-m", "labwright", *join, "0", cwd=tmp_path), begun("-c", HELD, *join, "1", cwd=tmp_path)]
    said_by(clients[1], "trained")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (tmp_path / "killed").touch()

    resumed = begun("-m", "labwright", "resume", "run", "--json", cwd=tmp_path)
    outcome = json.loads(resumed.communicate(timeout=PATIENCE)[0])
    assert (outcome["status"], outcome["step"]) == ("finished", 5)
    answers = [json.loads(client.communicate(timeout=PATIENCE)[0]) for client in clients]
    # the last checkpoint was that of two rounds: the third is made again, and the fourth, of which one had no answer
    assert [answer["rounds"] for answer in answers] in ([6, 6], [7, 6])
    assert answers[1]["late"] == 1
    assert all(answer["metrics"] == outcome["metrics"] for answer in answers)

    simulated = lw.Experiment.from_recipe("privacy/digits-federated", overrides).run(tmp_path / "simulated")
    assert outcome["metrics"] == simulated.outcome.metrics
    ends = [weights_after(folder, 5) for folder in (tmp_path / "run", simulated.folder)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def said_by(process: subprocess.Popen[str], begins: str) -> str:
    """The line on stderr that begins so, as soon as it is there."""
    lines = []
    assert process.stderr is not None
    end = threading.Timer(PATIENCE, process.kill)  # one that says nothing more would be waited for without end
    end.start()
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith(begins):
                return line
    finally:
        end.cancel()
    return pytest.fail("".join(lines))


def weights_after(folder: Path, step: int) -> dict[str, torch.Tensor]:
    (file,) = (folder / "checkpoints").glob(f"*{step:04d}*/model.safetensors")
    return load_file(file)


# ------------------------------------------------------------------------------------------------------ what is refused

LIKE = {"parameters": [torch.zeros(2, 3)], "buffers": [torch.zeros(3)]}


@pytest.fixture
def rounds() -> Iterator[RoundServer]:
    """A server of one client, whose first round is open until it has an answer."""
    server = RoundServer(1, TOKEN, "learned")
    with server.listening("127.0.0.1", 0) as server.url:  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: server.answers(0, LIKE, 600.0), daemon=True)
        thread.start()
        with server.changed:
            assert server.changed.wait_for(lambda: server.open, timeout=60)
        yield server
        server.take(0, server.ticket, update_written(ANSWER))
        thread.join(60)


ANSWER = ClientUpdate(5, [torch.ones(2, 3)], [torch.ones(3)], {"train": torch.tensor(0.5)})


def asked(server: Any, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
    address = urlsplit(server.url)
    connection = HTTPConnection(address.hostname, address.port, timeout=60)
    given = {"Authorization": f"Bearer {TOKEN}", "Learned": "learned"} | headers
    with closing(connection):
        connection.request(method, path.replace("TICKET", server.ticket), body, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


def body(**changes: Any) -> bytes:
    tensors = {
        "samples": torch.tensor(5),
        "losses/train": torch.tensor(0.5, dtype=torch.float64),
        "parameters.0": torch.ones(2, 3),
        "buffers.0": torch.ones(3),
    }
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return save({name: tensor for name, tensor in tensors.items() if tensor is not None})


UPDATE = "/update?client=0&ticket=TICKET"


@pytest.mark.parametrize(
    ("method", "path", "sent", "headers", "status", "words"),
    [
        ("GET", "/round?client=0", b"", {"Authorization": "Bearer guessed"}, 401, "the token isn't the server's"),
        ("GET", "/round?client=0", b"", {"Authorization": ""}, 401, "the token isn't the server's"),
        ("GET", "/round?client=0", b"", {"Learned": "other classes"}, 412, "taught its task something else"),
        ("GET", "/weights", b"", {}, 404, "GET /round and POST /update"),
        ("GET", "/round?client=1", b"", {}, 400, "clients are 0 to 0, given 1"),
        ("GET", "/round?client=first", b"", {}, 400, "client=NUMBER"),
        ("POST", UPDATE, b"\x80\x04cos\nsystem\n", {}, 400, "no safetensors file"),
        (
            "POST",
            UPDATE,
            body(parameters__0=torch.ones(3, 2)),
            {},
            400,
            "(3, 2), and the model's",
        ),
        ("POST", UPDATE, body(parameters__0=torch.ones(2, 3).double()), {}, 400, "torch.float64"),
        ("POST", UPDATE, body(parameters__0=torch.full((2, 3), torch.nan)), {}, 400, "no finite number"),
        ("POST", UPDATE, body(parameters__1=torch.ones(1)), {}, 400, "it has 3 tensors, and the model 2"),
        ("POST", UPDATE, body(samples=torch.tensor(-5)), {}, 400, "no number of samples"),
        ("POST", UPDATE, body(samples=None), {}, 400, "no number of samples"),
        ("POST", UPDATE, b"", {"Content-Length": "1e9"}, 411, "Content-Length"),
        ("POST", UPDATE, b"", {"Content-Length": "99999999999"}, 413, "bytes at most"),
        ("POST", "/update?client=0&ticket=of-another-round", body(), {}, 409, "the round is over"),
    ],
)
def test_requests_that_are_not_right_are_refused_in_words(
    rounds: RoundServer, method: str, path: str, sent: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = asked(rounds, method, path, sent, **headers)
    assert answer[0] == status
    assert words in answer[1]
    assert not rounds.updates


def test_an_update_is_taken_once_and_ends_the_round() -> None:
    server = RoundServer(1, TOKEN, "learned")
    with server.listening("127.0.0.1", 0) as url:
        taken: list[dict[int, ClientUpdate]] = []
        thread = threading.Thread(target=lambda: taken.append(server.answers(4, LIKE, 600.0)), daemon=True)
        thread.start()
        client = Client(url, 0, TOKEN, "learned", patience=60.0)
        weights = client.next_round("", LIKE)
        assert weights.number == 4
        assert not weights.last
        assert torch.equal(weights.tensors["parameters"][0], torch.zeros(2, 3))
        assert client.send(weights.ticket, ANSWER)
        thread.join(60)
        assert not client.send(weights.ticket, ANSWER)  # it is over
        assert taken[0][0].samples == 5
        assert torch.equal(taken[0][0].buffers[0], torch.ones(3))
        ended = threading.Thread(target=lambda: server.end(LIKE), daemon=True)
        ended.start()
        assert client.next_round(weights.ticket, LIKE).last
        ended.join(60)


def test_a_round_whose_clients_are_all_gone_ends() -> None:
    server = RoundServer(1, TOKEN, "learned")
    taken: list[dict[int, ClientUpdate]] = []

    def two_rounds() -> None:
        taken.append(server.answers(0, LIKE, 600.0))
        taken.append(server.answers(1, LIKE, 0.1))

    thread = threading.Thread(target=two_rounds, daemon=True)
    thread.start()
    assert server.next_round(0, "")[0] == 200
    assert server.take(0, server.ticket, update_written(ANSWER)) == (202, "taken")
    thread.join(30)
    assert [*map(len, taken)] == [1, 0]


def test_a_server_that_its_proxy_cannot_reach_is_tried_again() -> None:
    class Proxy(BaseHTTPRequestHandler):
        statuses: ClassVar = [502, 503, 504, 410]

        def do_GET(self) -> None:
            status = self.statuses.pop(0)
            sent = written(LIKE) if status == 410 else b"the server behind isn't there"
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{proxy.server_address[1]}", 0, TOKEN, "learned", patience=60.0)
        assert client.next_round("", LIKE).last
        assert not Proxy.statuses
        proxy.shutdown()


@pytest.mark.long
def test_weights_of_another_model_and_a_server_that_is_gone_end_a_client_in_words() -> None:
    server = RoundServer(1, TOKEN, "learned")
    with server.listening("127.0.0.1", 0) as url:
        server.end({**LIKE, "buffers": []})
        with pytest.raises(lw.RunFailed, match="aren't this recipe's: it has 1 tensors, and the model 2"):
            Client(url, 0, TOKEN, "learned", patience=0.0).next_round("", LIKE)
    with pytest.raises(lw.RunFailed, match=r"can't be reached for 0 s"):
        Client(url, 0, TOKEN, "learned", patience=0.0).next_round("", LIKE)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["serve", "privacy/digits-federated"], "--token FILE is needed"),
        (["server", "privacy/digits-federated", "--token", "token"], "did you mean 'serve'?"),
        (["serve", "vision/digits-mlp", "--token", "token"], "its method is 'descent'"),
        (["serve", "privacy/digits-federated", "--token", "short"], "'short' has 5 characters; 16 or more"),
        (["serve", "privacy/digits-federated", "--token", "none"], "can't be read: No such file"),
        (["serve", "privacy/digits-federated", "--token", "token", "--clients", "300"], "method.clients"),
        (["join", "privacy/digits-federated", "--token", "token"], "needs --server URL"),
        (["join", "privacy/digits-federated", "--token", "token", "--server", "ftp://x"], "is no address of a server"),
        (
            [
                "join",
                "privacy/digits-federated",
                "--token",
                "token",
                "--server",
                "http://x",
                "--share",
                "--client",
                "99",
            ],
            "--client 99: the recipe's method has 20 clients",
        ),
    ],
)
def test_what_federate_cannot_do_is_said(labwright: Any, tmp_path: Path, words: list[str], error: str) -> None:
    (tmp_path / "token").write_text(TOKEN.replace(" ", "-"))
    (tmp_path / "short").write_text("short")
    said = labwright("federate", *words)
    assert said.code == 2
    assert error in said.errors
    assert not (tmp_path / "runs").exists()
