"""The caller's world: random numbers, threads and the rest of the process, which a run uses and leaves as they were."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from labwright.base.errors import LabwrightError
from labwright.base.seeding import global_generators

_CPU = torch.device("cpu")
_OURS = threading.RLock()  # torch's generators belong to the process: so does the right to use them


@contextmanager
def isolated(device: torch.device = _CPU, *, seed: int | None = None, threads: int | None = None) -> Iterator[None]:
    """Within it global random numbers are labwright's to use; after it they go on where they were.

    Those of torch on the CPU and on `device`, of numpy and of Python, all started from `seed` where it is given.
    `threads` are the CPU threads within it. It may be entered again by the same thread, and by one thread at a time.

    Raises LabwrightError while another thread of the process is within it: each would spoil the other's numbers.

    Example: `with lw.isolated(seed=0): model = build()`
    """
    if not _OURS.acquire(blocking=False):
        raise LabwrightError(
            "another thread of this process is training or evaluating: random numbers and CPU threads belong to the "
            "process, so that neither result could be repeated. Run one after the other, or each in its own process."
        )
    try:
        generators = global_generators(device)
        states = [generator.get_state() for generator in generators]
        # only where somebody has imported it: nothing here needs it
        numpy: Any = sys.modules.get("numpy")
        of_numpy = numpy.random.get_state() if numpy else None
        of_python, before = random.getstate(), torch.get_num_threads()
        if seed is not None:
            for generator in generators:
                generator.manual_seed(seed)
            random.seed(seed)
            if numpy:
                numpy.random.seed(seed % 2**32)
        if threads is not None and threads != before:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            random.setstate(of_python)
            if numpy:
                numpy.random.set_state(of_numpy)
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)
    finally:
        _OURS.release()
