"""Metrics of texts that were written, beside those that were meant: the field's own packages compute them.

A reference is the target as its tokens say it: whole where the tokenizer loses nothing (`char`, `byte`, `bpe`) and the
data's `length` cuts nothing, and else with what a tokenizer makes of a text, such as small letters and unknown words.
Figures of papers are of whole ones.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, final

from labwright import Mean
from labwright_tasks.metrics import Splits
from pydantic import Field


class _OfCorpus(ABC):
    """A score of sacreBLEU over all texts together, from 0 to 100; nan before the first.

    Args:
        splits: parts of the data it is computed on; left out, all of them.
    """

    higher_is_better = True

    def __init__(self, splits: Splits | None) -> None:
        self.splits = splits
        self.reset()

    @abstractmethod
    def scorer(self) -> Any: ...

    def update(self, texts: Sequence[str], references: Sequence[str]) -> None:
        """Take in the texts that were written, and those that were meant."""
        self._texts += texts
        self._references += references

    def compute(self) -> float:
        if not self._texts:
            return math.nan
        return float(self.scorer().corpus_score(self._texts, [self._references]).score)

    def reset(self) -> None:
        self._texts: list[str] = []
        self._references: list[str] = []

    def signature(self) -> str:
        """How it is computed, in sacreBLEU's own words: what a figure needs beside it to be compared."""
        scorer = self.scorer()
        score = scorer.corpus_score(["a"], [["a"]])  # it knows the number of references after one
        return f"{score.name} {scorer.get_signature()}"


@final
class BLEU(_OfCorpus):
    """BLEU (Papineni et al. 2002) by sacreBLEU (Post 2018): n-grams of 1 to 4 words that are shared, over the corpus.

    From 0 to 100. The run's report has the signature.

    Args:
        tokenize: how sacreBLEU cuts texts into words: 13a as WMT does, intl with all of Unicode's punctuation, zh for
            Chinese, char by character, none where there are spaces.
        lowercase: whether capitals count as small letters.
    """

    def __init__(
        self,
        *,
        tokenize: Literal["13a", "intl", "zh", "char", "none"] = "13a",
        lowercase: bool = False,
        splits: Splits | None = None,
    ) -> None:
        self.tokenize, self.lowercase = tokenize, lowercase
        super().__init__(splits)

    def scorer(self) -> Any:
        from sacrebleu.metrics import bleu

        # `force` only leaves out a warning of texts that are in words already, as those of `tokenizer="word"` are
        return bleu.BLEU(tokenize=self.tokenize, lowercase=self.lowercase, force=True)


@final
class ChrF(_OfCorpus):
    """chrF (Popović 2015) by sacreBLEU: F2 of shared character n-grams, over the corpus, 0 to 100.

    The run's report has the signature.

    Args:
        char_order: most characters of an n-gram.
        word_order: most words of an n-gram; with 2 it is chrF++ (Popović 2017), which counts words and pairs of words
            as well, with 0 none are.
        lowercase: whether capitals count as small letters.
    """

    def __init__(
        self,
        *,
        char_order: Annotated[int, Field(ge=1, le=10)] = 6,
        word_order: Annotated[int, Field(ge=0, le=4)] = 0,
        lowercase: bool = False,
        splits: Splits | None = None,
    ) -> None:
        self.char_order, self.word_order, self.lowercase = char_order, word_order, lowercase
        super().__init__(splits)

    def scorer(self) -> Any:
        from sacrebleu.metrics import chrf

        return chrf.CHRF(char_order=self.char_order, word_order=self.word_order, lowercase=self.lowercase)


@final
class Rouge:
    """ROUGE (Lin 2004) by the package rouge-score: `rouge/rouge1`, `rouge/rouge2` and `rouge/rougeL`, from 0 to 1.

    Each is the mean over texts of F1: of shared words, of pairs of words, and of the longest common subsequence. Its
    words are of a to z and digits alone, whatever the language: it says little of texts in other letters, and nothing
    of those without these.

    Args:
        stemmer: whether English endings are taken off first (Porter 1980).
        splits: parts of the data it is computed on; left out, all of them.
    """

    higher_is_better = True

    def __init__(self, *, stemmer: bool = False, splits: Splits | None = None) -> None:
        self.stemmer, self.splits = stemmer, splits
        self._scorer: Any = None
        self.reset()

    def update(self, texts: Sequence[str], references: Sequence[str]) -> None:
        """Take in the texts that were written, and those that were meant."""
        if self._scorer is None:
            from rouge_score.rouge_scorer import RougeScorer

            self._scorer = RougeScorer([*self._means], use_stemmer=self.stemmer)
        for text, meant in zip(texts, references, strict=True):
            for name, score in self._scorer.score(meant, text).items():
                self._means[name].add(score.fmeasure, 1)

    def compute(self) -> dict[str, float]:
        return {name: mean.compute() for name, mean in self._means.items()}

    def reset(self) -> None:
        self._means = {name: Mean() for name in ("rouge1", "rouge2", "rougeL")}


@final
class CharacterErrors:
    """The character error rate: characters put in, left out or replaced, per character of what was meant (by jiwer).

    1 - CER is the share of characters that are right. It may be above 1; spaces at both ends don't count.

    Args:
        splits: parts of the data it is computed on; left out, all of them.
    """

    higher_is_better = False

    def __init__(self, *, splits: Splits | None = None) -> None:
        self.splits = splits
        self._mean = Mean()

    def update(self, texts: Sequence[str], references: Sequence[str]) -> None:
        """Take in the texts that were written, and those that were meant; those that are empty leave nothing right."""
        import jiwer

        known = [(text, meant) for text, meant in zip(texts, references, strict=True) if meant.strip()]
        if not known:
            return
        counts = jiwer.process_characters([meant for _, meant in known], [text for text, _ in known])
        wrong = counts.substitutions + counts.deletions + counts.insertions
        self._mean.add(wrong, counts.substitutions + counts.deletions + counts.hits)

    def compute(self) -> float:
        return self._mean.compute()

    def reset(self) -> None:
        self._mean.reset()
