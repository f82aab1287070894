"""How the next token of a text is chosen out of a model's logits. B texts, V vocabulary, K tokens that are left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import torch
from labwright import LabwrightError
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor

Temperature = Annotated[
    float,
    Field(ge=0, allow_inf_nan=False, description="divides the logits; 0 always takes the most probable token."),
]
TopK = Annotated[int, Field(ge=1, description="most probable tokens that the next is drawn from; left out, all.")]
TopP = Annotated[
    float,
    Field(
        gt=0,
        le=1,
        description="probability that the fewest most probable tokens have together which the next is drawn from "
        "(Holtzman et al. 2020); left out or 1, all.",
    ),
]
MinP = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="share of the most probable token's probability that a token needs to be drawn (Nguyen et al. "
        "2024); left out or 0, all may be.",
    ),
]
RepetitionPenalty = Annotated[
    float,
    Field(
        gt=0,
        allow_inf_nan=False,
        description="divides the logits of tokens that stand before, or multiplies negative ones (Keskar et al. 2019); "
        "left out or 1, it does nothing.",
    ),
]
Stop = Annotated[str, Field(min_length=1, description="text that ends what is written.")]
Length = Annotated[int, Field(ge=1, description="most tokens that a prediction adds to its prompt.")]
Seed = Annotated[int, Field(ge=0, description="which of the many texts that could be drawn it is.")]


class Sampling(BaseModel):
    """How a text is written; see the settings of `LanguageModel`, which these are.

    Raises ValidationError for what they can't be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    temperature: Temperature = 0.8
    top_k: TopK | None = None
    top_p: TopP | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty = 1.0
    length: Length = 300
    stop: Annotated[tuple[Stop, ...], Field(strict=False)] = ()
    sample_seed: Seed = 0

    @property
    def greedy(self) -> bool:
        """Whether it is always the token with the highest logit, whatever was written."""
        return self.temperature == 0 and self.repetition_penalty == 1

    def words(self) -> str:
        """What is said of it in a report: only what isn't as usual, but always the temperature."""
        parts = [
            "the most probable token each time" if self.temperature == 0 else f"temperature {self.temperature:g}",
            f"among the {self.top_k} most probable tokens" if self.top_k and self.temperature else "",
            f"top-p {self.top_p:g}" if self.top_p is not None and self.temperature else "",
            f"min-p {self.min_p:g}" if self.min_p is not None and self.temperature else "",
            f"repetition penalty {self.repetition_penalty:g}" if self.repetition_penalty != 1 else "",
        ]
        return ", ".join(part for part in parts if part)


def chances(logits_V: Tensor, before: Iterable[int], how: Sampling) -> tuple[Tensor, Tensor]:
    """The probabilities (K,) of the tokens (K,) that are left, the most probable one first; no temperature of 0.

    In the order of transformers: what stands `before` is penalised (Keskar et al. 2019, section 4.1), the logits are
    divided by the temperature; the `top_k` most probable tokens are left; of these the fewest that have `top_p` of
    the probability together (Holtzman et al. 2020, section 3.1); and of these those that have `min_p` of the most
    probable one's (Nguyen et al. 2024, section 3).
    """
    values, tokens = penalized(logits_V, before, how.repetition_penalty).topk(
        min(how.top_k or len(logits_V), len(logits_V))
    )
    shares_K = ((values - values[0]) / how.temperature).softmax(0)
    left = len(shares_K)
    if how.top_p is not None and how.top_p < 1:
        more_probable_K = shares_K.cumsum(0).roll(1)
        more_probable_K[0] = 0
        left = int((more_probable_K < how.top_p).sum())
    if how.min_p is not None:
        left = min(left, int((shares_K >= how.min_p * shares_K[0]).sum()))
    if left == len(shares_K):
        return shares_K, tokens
    return shares_K[:left] / shares_K[:left].sum(), tokens[:left]


def penalized(logits_V: Tensor, before: Iterable[int], penalty: float) -> Tensor:
    """The logits with those of tokens that stand before divided by the penalty, or multiplied if they are negative."""
    if penalty == 1:
        return logits_V
    seen_S = torch.tensor(sorted(set(before)), dtype=torch.int64)
    seen_S = seen_S[seen_S < len(logits_V)]
    of_seen_S = logits_V[seen_S]
    return logits_V.index_put((seen_S,), torch.where(of_seen_S < 0, of_seen_S * penalty, of_seen_S / penalty))


def drawn(logits_V: Tensor, before: Iterable[int], how: Sampling, draws: Generator) -> int:
    """The next token: the most probable one at a temperature of 0, else one drawn by its probability."""
    if how.temperature == 0:
        return int(penalized(logits_V, before, how.repetition_penalty).argmax())
    shares_K, tokens = chances(logits_V, before, how)
    return int(tokens[torch.multinomial(shares_K, 1, generator=draws)])


def no_numbers() -> LabwrightError:
    """What is said of logits, or of scores that came of them, out of which nothing can be chosen."""
    return LabwrightError(
        "the model's logits are no numbers (NaN or infinite), so that there is no next token: its weights or its "
        "training went astray; see the run's loss."
    )


def next_tokens(
    logits_BV: Tensor, before: Sequence[Sequence[int]], hows: Sequence[Sampling], draws: Sequence[Generator]
) -> list[int]:
    """The next token of each text, each by its own settings and draws: it doesn't depend on the others.

    Raises LabwrightError for logits that are no numbers.
    """
    tokens_B = logits_BV.argmax(dim=1)
    if not bool(logits_BV.gather(1, tokens_B[:, None]).isfinite().all()):
        raise no_numbers()
    if all(how.greedy for how in hows):
        tokens: list[int] = tokens_B.tolist()
        return tokens
    rows = zip(logits_BV.float().cpu(), before, hows, draws, strict=True)
    return [drawn(logits_V, text, how, of_text) for logits_V, text, how, of_text in rows]
