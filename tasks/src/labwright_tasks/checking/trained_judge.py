"""Runs as judges of labels: what their models say of samples they haven't learned from. B batch, C classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from labwright import Augmented, Classes, IndexedBatches, LabwrightError, Plugins, Port, evaluating, load
from torch import Tensor

from labwright_tasks.checking.samples import digest_of
from labwright_tasks.cross_validation.running import RESULT
from labwright_tasks.model_output import output

_AT_ONCE = 256


def judged_by(folder: Path, target: Port, plugins: Plugins, say: Callable[[str], None]) -> dict[bytes, Tensor]:
    """Probabilities of the samples of a run's `valid` and `test`, (C,) each, by the digest of the sample.

    Of a folder that `cross-validate` made each fold judges what it held out: together all that there is to learn from.
    A sample that several judge has the mean. Raises LabwrightError for a run of other classes than those of `target`.
    """
    if not isinstance(target, Classes):
        raise LabwrightError(f"--run judges labels of classes; this data has targets {type(target).__name__}.")
    folds = sorted(path for path in folder.glob("fold-*") if path.is_dir()) if (folder / RESULT).is_file() else []
    said: defaultdict[bytes, list[Tensor]] = defaultdict(list)
    for run in folds or [folder]:
        say(f"asking the model of {run}")
        loaded = load(run, plugins=plugins)
        task = loaded.task
        task.prepare()
        learned = task.ports()[1]
        if not isinstance(learned, Classes) or learned.names != target.names:
            raise LabwrightError(f"--run: {run} tells other classes apart than this data has.")
        for name in ("valid", "test"):
            part = task.data.split(name)
            if part is None:
                continue
            plain = part.plain() if isinstance(part, Augmented) else part
            with evaluating(loaded.model), torch.inference_mode():
                for batch in IndexedBatches.in_order(plain, _AT_ONCE):
                    probabilities_BC = output(loaded.model, batch).float().softmax(1)
                    for row, of_sample in enumerate(probabilities_BC):
                        said[digest_of(batch.inputs, row)].append(of_sample)
    return {digest: torch.stack(answers).mean(0) for digest, answers in said.items()}
