"""Tokens a second of generation: the task `language-model` with `nlp/gpt` beside `generate` of transformers.

Both have the same weights: a GPT-2 of 4 layers and width 256 over 8,192 pieces of text, random ones, without biases.
Prompts of 32 tokens are gone on with for 128, always by the most probable token, as one batch of 1 and of 8; both keep
keys and values. What they write is compared: with the same weights it is the same. Ours is measured as `predict` uses
it, text put together for each token; `generate` gives ids, which are decoded at the end. One thread; a text each in
turn, so that a busy minute hits both; the first of each isn't counted. What is counted is the time of the processor.

Example: `.venv/bin/python benchmarks/generating.py --rounds 9 --out benchmarks/GENERATING.md`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from labwright_nlp.data.pydoc import Pydoc
from labwright_nlp.models.gpt import GPT
from labwright_tasks.language_model import LanguageModel
from torch import Tensor

WIDTH, DEPTH, HEADS, VOCABULARY, WINDOW = 256, 4, 4, 8192, 256
PROMPT, NEW, BATCHES = 32, 128, (1, 8)


def theirs(model: GPT) -> Any:
    """transformers' GPT-2 with the weights of ours."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=model.embedding.num_embeddings,
        n_positions=WINDOW,
        n_embd=WIDTH,
        n_layer=DEPTH,
        n_head=HEADS,
        activation_function="gelu",
        bos_token_id=None,
        eos_token_id=None,
    )
    network = GPT2LMHeadModel(config).eval()
    ours = {name: value for name, value in model.state_dict().items() if value is not None}
    names = {"transformer.wte.weight": "embedding.weight", "transformer.wpe.weight": "positions"}
    names |= {"transformer.ln_f.weight": "norm.weight", "lm_head.weight": "embedding.weight"}
    parts = {"ln_1": "attention_norm", "attn.c_attn": "attention_in", "attn.c_proj": "attention_out"}
    parts |= {"ln_2": "hidden_norm", "mlp.c_fc": "hidden_in", "mlp.c_proj": "hidden_out"}
    for block in range(DEPTH):
        names |= {f"transformer.h.{block}.{name}.weight": f"blocks.{block}.{of}.weight" for name, of in parts.items()}
    for name, value in network.state_dict().items():
        if name in names:
            weight = ours[names[name]]
            value.copy_(weight.T if ".c_" in name else weight)  # theirs are written the other way round
        else:
            value.zero_()  # a bias
    return network


def ways(task: LanguageModel, prompts_BT: Tensor) -> dict[str, Callable[[], list[str]]]:
    inputs, outputs = task.data.ports()
    torch.manual_seed(0)
    model = GPT(inputs, outputs, width=WIDTH, depth=DEPTH, heads=HEADS).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # far enough apart that no two tokens are equally probable
    network, tokens = theirs(model), task.data.tokens  # type: ignore[attr-defined]

    def by_labwright() -> list[str]:
        return ["".join(text) for text in task.continuations(model, prompts_BT.tolist())]

    def by_transformers() -> list[str]:
        mask_BT = torch.ones_like(prompts_BT)
        ids_BT = network.generate(
            prompts_BT, attention_mask=mask_BT, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0
        )
        return [
            tokens.decode(ids[PROMPT - 1 :])[len(tokens.decode(ids[PROMPT - 1 : PROMPT])) :] for ids in ids_BT.tolist()
        ]

    return {"labwright": by_labwright, "transformers": by_transformers}


def measured(task: LanguageModel, batch: int, rounds: int) -> tuple[dict[str, list[float]], bool]:
    """The seconds of each round by way, and whether both wrote the same."""
    part = task.data.split("valid")
    assert part is not None
    prompts_BT = part.fetch(torch.arange(batch), 0, 0).inputs[0][:, :PROMPT]
    seconds: dict[str, list[float]] = {"labwright": [], "transformers": []}
    both = ways(task, prompts_BT)
    texts = {way: write() for way, write in both.items()}
    for _ in range(rounds):
        for way, write in both.items():
            begun = time.process_time()
            write()
            seconds[way].append(time.process_time() - begun)
    return seconds, texts["labwright"] == texts["transformers"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--note", help="what to know of this run, such as that the machine was busy")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    import transformers

    task = LanguageModel(Pydoc(tokenizer="bpe", vocabulary=VOCABULARY, context=WINDOW), temperature=0.0, length=NEW)
    task.prepare()
    rows, same = [], True
    for batch in BATCHES:
        seconds, alike = measured(task, batch, options.rounds)
        same = same and alike
        speeds = {way: batch * NEW / statistics.median(times) for way, times in seconds.items()}
        ratios = [b / a for a, b in zip(seconds["labwright"], seconds["transformers"], strict=True)]
        rows.append(
            f"| {batch} | {speeds['labwright']:,.0f} | {speeds['transformers']:,.0f} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |"
        )
    text = "\n".join(
        [
            f"GPT-2 of {DEPTH} layers and width {WIDTH}, {VOCABULARY:,} pieces; prompts of {PROMPT} tokens, {NEW} new",
            f"ones, the most probable one each time; {options.rounds} rounds in turn, medians by the processor's time,",
            f"one thread. torch {torch.__version__}, transformers {transformers.__version__}.",
            f"The same weights write the same texts: {'yes' if same else 'NO'}.",
            *(["", options.note] if options.note else []),
            "",
            "| prompts at once | tokens a second, labwright | `generate` of transformers | times as fast (range) |",
            "| --: | --: | --: | --: |",
            *rows,
        ]
    )
    print(text)
    if options.out:
        options.out.write_text(f"# Generation beside transformers\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
