"""The head that tells hidden tokens, as BERT's. B batch, T tokens, M hidden, D width, E of embeddings, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class HiddenHead(nn.Module):
    """A layer, GELU and a norm; logits are products with the embeddings of all tokens, plus a bias for each.

    It holds no embeddings: they are the model's own, which gives them to `forward` (Press & Wolf 2017). Only the
    vectors at hidden places go through it, as each logit is as much work as a whole layer may be.

    Source: Devlin et al. 2019, "BERT", as its code has it.

    Args:
        width: of the vectors it is given.
        embedded: width of the embeddings; ELECTRA's and ALBERT's differ from that.
        vocab_size: how many logits there are.
        eps: what the norm adds to a variance.
    """

    def __init__(self, width: int, embedded: int, vocab_size: int, *, eps: float = 1e-12) -> None:
        super().__init__()
        self.transform = nn.Linear(width, embedded)
        self.norm = nn.LayerNorm(embedded, eps=eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x_BTD: Tensor, places_BM: Tensor, embeddings_VE: Tensor) -> Tensor:
        """Logits of shape (B, M, V). Of more embeddings than logits the first are used."""
        x_BMD = x_BTD.gather(1, places_BM[..., None].expand(-1, -1, x_BTD.shape[2]))
        x_BME = self.norm(functional.gelu(self.transform(x_BMD)))
        return functional.linear(x_BME, embeddings_VE[: len(self.bias)], self.bias)
