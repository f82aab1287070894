"""What a simple model reaches on the same parts as ours: the floors that they have to beat.

python benchmarks/floors.py --data ../shared/data: scikit-learn's logistic regression on clicks of MovieLens 100k for
three splits (AUC; the features that DeepFM sees, one-hot), and on names by language for ten splits (accuracy; the
n-grams that the bag sees, by TF-IDF), its strength chosen on a valid part, which is then learned from as well where the
recipe does so; and how often each word stands in translated captions, whatever the source (perplexity).
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
from labwright_nlp.data.languages import Languages
from labwright_nlp.data.text_pairs import TextPairs
from labwright_nlp.tokenizing import clean
from labwright_recsys.data.movielens import MovieLens
from labwright_tasks.sequence_to_sequence import TargetTokens
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline

PARTS = ("train", "valid", "test")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    folder = parser.parse_args().data
    aucs = [clicks(folder / "movielens_100k", seed) for seed in range(3)]
    print(f"clicks: mean AUC {statistics.mean(aucs):.4f} ({' '.join(f'{auc:.4f}' for auc in aucs)})")
    scores = [languages(seed) for seed in range(10)]
    print(f"languages: mean accuracy {statistics.mean(scores):.4f} ({' '.join(f'{one:.4f}' for one in scores)})")
    print(f"captions: perplexity {captions(folder / 'multi30k_en_de'):.1f}")


def clicks(folder: Path, seed: int) -> float:
    data = MovieLens(folder=folder, seed=seed)
    data.prepare()
    port = data.ports()[0]
    of_user = one_hot([side.codes_NV.numpy() for side in port.user_sides], port.users)
    of_item = one_hot([side.codes_NV.numpy() for side in port.item_sides], port.items)
    features, clicked = {}, {}
    for part in PARTS:
        pairs = data.split(part)
        assert pairs is not None
        features[part] = hstack([of_user[pairs.users_N.numpy()], of_item[pairs.items_N.numpy()]], format="csr")
        clicked[part] = (pairs.ratings_N >= 4).numpy()
    models = [LogisticRegression(C=c, max_iter=1000).fit(features["train"], clicked["train"]) for c in (0.1, 0.3, 1, 3)]
    aucs = [
        [roc_auc_score(clicked[part], model.decision_function(features[part])) for part in PARTS[1:]]
        for model in models
    ]
    return float(max(aucs)[1])


def one_hot(sides: list[np.ndarray], count: int) -> csr_array:
    """A column for each name and for each value of a side; of several values each has its share."""
    blocks = [csr_array(np.eye(count))]
    for codes_NV in sides:
        block = np.zeros((count, codes_NV.max() + 1))
        np.add.at(block, (np.arange(count)[:, None], codes_NV), 1.0)
        block = block[:, 1:]
        blocks.append(csr_array(block / np.maximum(block.sum(1, keepdims=True), 1)))
    return csr_array(hstack(blocks))


def languages(seed: int) -> float:
    data = Languages(case="keep", length=200, seed=seed)
    data.prepare()
    texts, labels = {}, {}
    for part in PARTS:
        split = data.split(part)
        assert split is not None
        batch = split.fetch(np.arange(len(split)), 0, 0)  # type: ignore[arg-type]
        texts[part] = [f"\n{clean(name, 'mark')}\n" for name in data.show(batch.inputs)]  # with its boundaries
        labels[part] = batch.targets.numpy()

    def model(c: float) -> Pipeline:
        ngrams = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, lowercase=False)
        return make_pipeline(ngrams, LogisticRegression(C=c, max_iter=300))

    scores = {c: model(c).fit(texts["train"], labels["train"]).score(texts["valid"], labels["valid"]) for c in (10, 30)}
    whole = model(max(scores, key=lambda c: scores[c]))
    whole.fit([*texts["train"], *texts["valid"]], np.concatenate([labels["train"], labels["valid"]]))
    return float(whole.score(texts["test"], labels["test"]))


def captions(folder: Path) -> float:
    """Of a test caption's tokens by their counts in training, one added to each, as the recipe's data has them."""
    data = TextPairs(
        path=folder, text="en", translation="de", vocabulary=4000, tokenizer="word", case="lower", length=48
    )
    data.prepare()
    tokens = {}
    for part in ("train", "test"):
        split = data.split(part)
        assert split is not None
        tokens[part] = [token for ids in split.targets for token in ids]
    counts, words = Counter(tokens["train"]), data.ports()[1]
    assert isinstance(words, TargetTokens)
    total = len(tokens["train"]) + words.vocab_size
    nats = [math.log(total / (counts[token] + 1)) for token in tokens["test"]]
    return math.exp(statistics.mean(nats))


if __name__ == "__main__":
    main()
