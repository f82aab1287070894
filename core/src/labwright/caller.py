"""The program that called: what it has beside its own variables is left as it was."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """After it the random state of torch, numpy and Python, torch's threads and the warning filters are as before."""
    ours, theirs, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
