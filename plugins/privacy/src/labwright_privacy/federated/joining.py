"""A client's side of `labwright federate join`: what a recipe says, trained round by round for a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from labwright import Experiment, LabwrightError, isolated
from labwright_tasks.fold_data import Chosen

from labwright_privacy.federated import messages
from labwright_privacy.federated.client import Client
from labwright_privacy.federated.method import FederatedAveraging
from labwright_privacy.federated.network import take_part


@dataclass(frozen=True)
class Joined:
    """How a client took part, and what the last weights reach on its own parts."""

    taken: int
    late: int
    metrics: dict[str, dict[str, float]]
    samples: dict[str, int]


def joined(experiment: Experiment, url: str, number: int, token: Path, *, share: bool, patience: float) -> Joined:
    """Take part until the run is over. `share` trains on the client's part of the data, as the method divides it."""
    given = messages.token_in(token)
    task = experiment.prepared()
    with TemporaryDirectory(prefix="labwright-") as folder:
        trainer = experiment.quiet().trial(Path(folder), task)  # what it writes is gone after
        built, method = trainer.built, trainer.built.method
        assert isinstance(method, FederatedAveraging)
        if number >= len(method.members) and share:
            raise LabwrightError(f"--client {number}: the recipe's method has {len(method.members)} clients, from 0.")
        part = task.part("train")
        assert part is not None
        samples = method.members[number] if share else Chosen([part], torch.arange(len(part)))
        client = Client(url, number, given, messages.learned_by(task), patience)
        with isolated(built.device, threads=built.device_settings.threads):
            (update,) = trainer.phase_steps
            built.model.train()
            taken, late = take_part(client, trainer, update, samples, method.local)
            metrics, counts = {}, {}
            for split in ("valid", "test"):
                measured = built.evaluate(split, size=experiment.train.batch_size, seed=experiment.train.seed)
                if measured is not None:
                    metrics[split], counts[split] = measured.metrics, measured.samples
    return Joined(taken, late, metrics, counts)
