"""One measurement of one contender, in a process of its own: `overhead.py` starts this file and reads its result file.

Arguments, as one JSON object: contender, kind, work, result (a file), folder, started (time.monotonic of the parent
just before), quick. Writes one line of JSON: `value`, and beside it wall, whole and loss where they are measured; or
`skipped`, the reason.
"""

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from plan import CONTENDERS

QUICK_STEPS = 60  # labwright logs every 50
WARM_UPS = ("first", "second")  # whole epochs: what is imported to log or save counts for nobody; a second fit may
# still be dearer than a third (labwright's by 0.1 s, in matplotlib), which would pass for cheaper steps


def main() -> None:
    """Measure what the first argument asks for."""
    asked = json.loads(sys.argv[1])
    module_name, function = CONTENDERS[asked["contender"]].split(":")
    try:
        fit = getattr(importlib.import_module(module_name), function)
    except ImportError as error:
        answer(asked, skipped=f"{type(error).__name__}: {error}")
        return
    import torch

    torch.set_num_threads(1)
    {"step": measure_step, "start": measure_start, "memory": measure_memory}[asked["kind"]](asked, fit)


def answer(asked: dict, **result: object) -> None:
    """Write the result where the parent looks for it."""
    Path(asked["result"]).write_text(json.dumps(result) + "\n", encoding="utf-8")


def measure_step(asked: dict, fit: Callable) -> None:
    """The marginal cost of a step: a fit of 2E epochs less one of E, so that set-up and teardown cancel.

    `value` is µs of CPU time, all threads of the process together; `wall` is the same in elapsed µs; `whole` is the
    seconds of CPU time of the whole shorter fit, set-up and teardown included.
    """
    from loops.work import loss_over, make_data

    work = the_work(asked)
    data = make_data(work, new_folder(asked, "data"))
    for name in WARM_UPS:
        fit(job_for(asked, name, work, data, epochs=1))
    short_cpu, short_wall, _ = timed(fit, job_for(asked, "short", work, data, epochs=work.epochs))
    long_cpu, long_wall, model = timed(fit, job_for(asked, "long", work, data, epochs=2 * work.epochs))
    steps = work.epochs * work.steps
    answer(
        asked,
        value=(long_cpu - short_cpu) / steps * 1e6,
        wall=(long_wall - short_wall) / steps * 1e6,
        whole=short_cpu,
        loss=loss_over(model, data),
    )


def measure_start(asked: dict, fit: Callable) -> None:
    """Elapsed seconds from the start of this process to the end of its first optimizer step."""
    from loops.work import make_data
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def stepped(*_: object) -> None:
        answer(asked, value=time.monotonic() - asked["started"])
        os._exit(0)  # the fit has shown what it was asked for

    register_optimizer_step_post_hook(stepped)
    work = the_work(asked)
    data = make_data(work, new_folder(asked, "data"))
    fit(replace(job_for(asked, "fit", work, data, epochs=1), stepped=stepped))


def measure_memory(asked: dict, fit: Callable) -> None:
    """The largest resident size of this process by the end of a fit, in MiB."""
    from loops.work import loss_over, make_data

    work = the_work(asked)
    data = make_data(work, new_folder(asked, "data"))
    model = fit(job_for(asked, "fit", work, data, epochs=work.epochs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer(asked, value=peak, loss=loss_over(model, data))


def the_work(asked: dict):
    """What is trained; a quick run cuts it down to a few steps."""
    from loops.work import WORKS

    work = WORKS[asked["work"]]
    return replace(work, rows=min(work.rows, QUICK_STEPS * work.batch_size), epochs=1) if asked["quick"] else work


def job_for(asked: dict, name: str, work, data, epochs: int):
    """The job of one fit, with a folder of its own."""
    from loops.work import Job

    return Job(work, data, epochs, new_folder(asked, name))


def new_folder(asked: dict, name: str) -> Path:
    """An empty folder that the parent deletes afterwards."""
    folder = Path(asked["folder"]) / name
    folder.mkdir()
    return folder


def timed(fit: Callable, job) -> tuple[float, float, object]:
    """Seconds of CPU time, seconds elapsed, and what the fit returned."""
    cpu, wall = time.process_time(), time.perf_counter()
    model = fit(job)
    return time.process_time() - cpu, time.perf_counter() - wall, model


if __name__ == "__main__":
    main()
