"""Any encoder-decoder of transformers. B batch, S tokens of a source, T of a target, D width, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labwright import Tokens
from labwright_tasks.sequence_to_sequence import TargetTokens
from torch import Tensor, nn

from labwright_nlp.models import lora as adapters
from labwright_nlp.models.backbones import sequence_to_sequence
from labwright_nlp.models.caches import filled_cache, in_cache
from labwright_nlp.models.lora import Lora
from labwright_nlp.models.masks import filled
from labwright_nlp.ports import EncoderTokens


class EncoderDecoder(nn.Module):
    """An encoder-decoder of transformers (Wolf et al. 2020), such as T5 (Raffel et al. 2020) or BART.

    With `task.data.tokenizer="pretrained"` it is the network of the folder that the run starts from, `start.run`, which
    holds config.json, tokenizer.json and weights as safetensors; `start.take` says under which names it has them here,
    such as `{"*" = "network.*"}`. Nothing is downloaded and no code of a folder is run.

    One table of vectors serves the tokens of both sides. Tokens of the configuration that the target's tokenizer
    doesn't have are never written, and have no share of the probability.

    Args:
        architecture: a model type of transformers, such as t5 or bart, to start from random weights; left out, it is
            the folder's.
        options: values of the configuration, by transformers' names, such as `{ num_layers = 4 }`.
        lora: adapters of low rank, which alone are trained; left out, all weights are.

    Raises LabwrightError for a name transformers doesn't have, for a configuration that can't be used, and for texts
    longer than the positions or tokens it doesn't know.
    """

    def __init__(
        self,
        inputs: Tokens,
        outputs: TargetTokens,
        *,
        architecture: str | None = None,
        options: dict[str, Any] | None = None,
        lora: Lora | None = None,
    ) -> None:
        super().__init__()
        self.network = sequence_to_sequence(inputs, outputs, architecture, options or {})
        self.lora, self.size = lora, outputs.vocab_size
        self.apart = architecture is not None and not isinstance(inputs, EncoderTokens)
        adapters.adapt(self.network, lora)

    def encode(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Sources (B, S) as (B, S, D)."""
        there_BS = filled(ids.shape[1], lengths).long()
        memory: Tensor = self.network.get_encoder()(input_ids=ids, attention_mask=there_BS).last_hidden_state
        return memory

    def decode(self, memory: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of the token after each of the target's, from those up to it and the sources' memory."""
        logits_BTV: Tensor = self._told(memory, filled(memory.shape[1], lengths), target, use_cache=False).logits
        return logits_BTV[..., : self.size]

    def begin(self, memory: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """The state of targets of which nothing is written: where sources are, (B, S), and their memory.

        Behind these come the keys and values of each layer once there are some: (B, H, T, d) of the target's own
        tokens, and (B, H, S, d) of the sources'.
        """
        return filled(memory.shape[1], lengths), memory

    def extend(self, state: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """What `decode` says of the token after the last of each row, (B, V), given that one (B,) and the state before.

        Beside it the state that has that token in it.
        """
        from transformers import EncoderDecoderCache

        there_BS, memory, *held = state
        cache = EncoderDecoderCache(filled_cache(held[: len(held) // 2]), filled_cache(held[len(held) // 2 :]))
        told = self._told(memory, there_BS, tokens[:, None], use_cache=True, past_key_values=cache)
        after = told.past_key_values
        grown = (*in_cache(after.self_attention_cache), *in_cache(after.cross_attention_cache))
        return told.logits[:, -1, : self.size], (there_BS, memory, *grown)

    def merged(self) -> nn.Module:
        """The same model with its adapters added to its weights."""
        return self if self.lora is None else adapters.merged(self)

    def remarks(self) -> Sequence[str]:
        shared = (
            "one table of vectors serves both sides: where these have tokenizers of their own, a vector stands for two "
            "tokens."
        )
        return [*adapters.about(self, self.lora), *([shared] if self.apart else [])]

    def _told(self, memory: Tensor, there_BS: Tensor, target: Tensor, **settings: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutput

        return self.network(
            encoder_outputs=BaseModelOutput(last_hidden_state=memory),
            attention_mask=there_BS.long(),
            decoder_input_ids=target,
            **settings,
        )
