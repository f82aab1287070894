"""Who takes part, and what is measured of whom. Imports nothing heavy: both the parent and its children read this."""

from dataclasses import dataclass

REFERENCE = "dataloader"

CONTENDERS = {
    "dataloader": "loops.by_hand:fit",
    "tensors": "loops.by_hand:fit_tensors",
    "labwright": "loops.labwright_loop:fit",
    "ignite": "loops.ignite_loop:fit",
    "accelerate": "loops.accelerate_loop:fit",
    "hf-trainer": "loops.transformers_loop:fit",
    "fastai": "loops.fastai_loop:fit",
    "lightning-lean": "loops.lightning_loop:fit_lean",
    "keras": "loops.keras_loop:fit",
    "lightning": "loops.lightning_loop:fit",
}


@dataclass(frozen=True)
class Measure:
    """One table: `kind` is what the child does (step, start or memory), `work` names what it trains."""

    title: str
    kind: str
    work: str
    contenders: tuple[str, ...]
    aim: str

    @property
    def unit(self) -> str:
        """The unit of the child's `value`."""
        return {"step": "µs", "start": "s", "memory": "MiB"}[self.kind]


_FEW = (REFERENCE, "labwright", "lightning")

MEASURES = {
    "step": Measure(
        "CPU time per step, rows in memory", "step", "mlp", tuple(CONTENDERS), "labwright below 1.00, defaults included"
    ),
    "items": Measure(
        "CPU time per step, each row read from disk", "step", "items", (REFERENCE, "labwright"), "at most 1.05"
    ),
    "start": Measure(
        "Process start to the end of the first step, SGD",
        "start",
        "mlp",
        (REFERENCE, "labwright", "hf-trainer", "lightning"),
        "labwright at most 0.75",
    ),
    "start-adamw": Measure(
        "Process start to the end of the first step, AdamW",
        "start",
        "mlp-adamw",
        (REFERENCE, "labwright"),
        "at most 0.75",
    ),
    "memory": Measure("Peak memory of a fit", "memory", "mlp", _FEW, "labwright at most 1.10"),
    "cnn": Measure("CPU time per step, a CNN", "step", "cnn", _FEW, "nobody slower than 1.00, within noise"),
    "gpt": Measure("CPU time per step, a small GPT", "step", "gpt", _FEW, "nobody slower than 1.00, within noise"),
}
