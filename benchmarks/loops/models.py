"""The three models that every contender trains.

Shapes: B batch, C channels, H height, W width, T time, D width, V vocabulary.
"""

import torch
from torch import Tensor, nn


def mlp() -> nn.Sequential:
    """64 features to 10 classes through one hidden layer of 128: 9,610 parameters."""
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def cnn() -> nn.Sequential:
    """Three convolutions over 1x28x28 pictures, 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    )


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each after a LayerNorm and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        batch, time, width = x_BTD.shape
        qkv = self.qkv(self.norm_attention(x_BTD)).view(batch, time, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(mixed.transpose(1, 2).reshape(batch, time, width))
        return x_BTD + self.feed(self.norm_feed(x_BTD))


class GPT(nn.Module):
    """Decoder-only transformer of nanoGPT's CPU setting: 4 layers, 4 heads, width 128, context 64."""

    def __init__(
        self, vocabulary: int = 65, context: int = 64, width: int = 128, heads: int = 4, depth: int = 4
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits, shape (B * T, V): one row for each token, so that every loss sees plain classification."""
        x_BTD = self.tokens(ids_BT) + self.positions
        return self.head(self.norm(self.blocks(x_BTD))).flatten(0, 1)
