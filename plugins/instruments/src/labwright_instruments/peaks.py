"""What makers of GPUs say that these can do, and what that says of a training: very roughly."""

from __future__ import annotations

from dataclasses import dataclass

from labwright import LabwrightError, nearest

USUAL = (0.1, 0.5)  # shares of a peak that trainings reach: small operations, and large products of matrices
START = 5e-6  # seconds that an operation takes at least on a GPU, as it has to be started


@dataclass(frozen=True)
class Peak:
    """Published peaks of a GPU: floating-point operations a second (dense, in units of 1e12) and memory in bytes.

    `half` is of 16-bit numbers on its matrix units: bf16, and fp16 where there is no bf16.
    """

    fp32: float
    half: float
    memory: float
    bf16: bool = True


# NVIDIA's data sheets: "A100 Tensor Core GPU" (2022), "H100 Tensor Core GPU", SXM (2023), "L4 Tensor Core GPU" (2023),
# "T4 Tensor Core GPU" (2019), "V100 Tensor Core GPU", SXM2 (2020), and appendix A of "Ada GPU Architecture" (2023) for
# the 4090, with fp32 sums. Where a sheet gives figures with sparsity, these are half of them.
PEAKS = {
    "A100 40GB": Peak(19.5, 312.0, 40e9),
    "A100 80GB": Peak(19.5, 312.0, 80e9),
    "H100 80GB": Peak(67.0, 989.0, 80e9),
    "L4 24GB": Peak(30.3, 121.0, 24e9),
    "T4 16GB": Peak(8.1, 65.0, 16e9, bf16=False),
    "V100 16GB": Peak(15.7, 125.0, 16e9, bf16=False),
    "V100 32GB": Peak(15.7, 125.0, 32e9, bf16=False),
    "RTX 4090 24GB": Peak(82.6, 165.2, 24e9),
}


def named(gpu: str) -> str:
    """The full name of a GPU of the table; its memory may be left out where there is only one of it.

    Raises LabwrightError for one that isn't there, and for a name that several have.
    """
    wanted = gpu.casefold().replace(" ", "")
    names = {name.casefold().replace(" ", ""): name for name in PEAKS}
    fitting = [name for plain, name in names.items() if plain.startswith(wanted)] if wanted else []
    if wanted in names or len(fitting) == 1:
        return names.get(wanted) or fitting[0]
    if fitting:
        raise LabwrightError(f"--for: {gpu!r} may be {' or '.join(fitting)}; say which.")
    raise LabwrightError(f"--for: no peaks are known of {gpu!r}{nearest(gpu, PEAKS)} There are {', '.join(PEAKS)}.")


def step_seconds(gpu: str, forward: int, operations: int, precision: str) -> tuple[float, float]:
    """The fewest and the most seconds that a step may take there.

    Args:
        gpu: a name of the table.
        forward: floating-point operations of a step's forward pass; backward takes twice as many.
        operations: calls of a forward pass, of which each has to be started; backward makes about twice as many.
        precision: fp32, bf16 or fp16.

    Raises LabwrightError for a precision that the GPU hasn't got.
    """
    peak = PEAKS[gpu]
    if precision == "bf16" and not peak.bf16:
        raise LabwrightError(f"--for: a {gpu.partition(' ')[0]} has no bf16; device.precision=fp16 or fp32 would do.")
    flops = 1e12 * (peak.fp32 if precision == "fp32" else peak.half)
    starting = 3 * operations * START
    fewest, most = (3 * forward / (flops * share) for share in reversed(USUAL))
    return max(fewest, starting), max(most, starting)
