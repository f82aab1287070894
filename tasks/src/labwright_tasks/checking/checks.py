"""What is looked for in any data, each check a function of the samples. N samples, D features, C classes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from labwright import Finding, LabwrightError, generator, listed
from torch import Tensor

from labwright_tasks.checking.classifier import out_of_fold
from labwright_tasks.checking.features import comparable
from labwright_tasks.checking.label_noise import label_noise
from labwright_tasks.checking.samples import PARTS, Samples

_FOLDS = 5
_FEW = 10  # samples of a class; with fewer nothing can be learned of it
_LOPSIDED = 10  # times as many samples in the largest class as in the smallest
_FAR = 5.0  # robust deviations from which on a sample is far from all others
_NEIGHBOURS = 5
_AT_ONCE = 1024  # rows whose distances are in memory
_DRIFT_SAMPLES = 1000  # of a part
_SURE, _TOLD_APART = 4.0, 0.6  # standard deviations; area under the ROC curve
_MOVED, _RARE = 0.05, 1e-3  # of the classes' shares; how often chance does as much
_NOISY = 0.01  # of the labels
_ABLE = 0.8  # of the labels; who agrees with fewer is no judge of them


def damaged(samples: Samples) -> Iterator[Finding]:
    """Samples that can't be fetched, and those that are odd by themselves."""
    if samples.unread:
        places, reasons = tuple(samples.unread), tuple(samples.unread.values())
        yield Finding("damaged", f"{_counted(len(places))} can't be read.", places, reasons, wrong=True)
    for oddity, odd in samples.odd.items():
        yield Finding("damaged", f"{len(odd):,} {oddity.what}.", tuple(odd), wrong=oddity.wrong)


def duplicates(samples: Samples) -> Iterator[Finding]:
    """The same sample more than once: across parts, under several labels, within a part."""
    members: dict[bytes, list[int]] = defaultdict(list)
    for at, digest in enumerate(samples.digests):
        members[digest].append(at)
    groups = [group for group in members.values() if len(group) > 1]
    across: dict[str, list[tuple[int, int]]] = defaultdict(list)
    torn, within = [], []
    for group in groups:
        first_of: dict[str, int] = {}
        for at in group:
            part = samples.places[at][0]
            earlier = next((first_of[name] for name in PARTS if name in first_of and name != part), None)
            if part in first_of:
                within.append((at, first_of[part]))
            elif earlier is not None:
                across[part].append((at, earlier))
            first_of.setdefault(part, at)
        if samples.labels_N is not None and len(torch.unique(samples.labels_N[group])) > 1:
            torn.append(group)
    for part, pairs in across.items():
        whole = samples.sizes[part]
        text = (
            f"{len(pairs):,} of {whole:,} samples of {part} are in another part as well: {part} flatters. Take them "
            "away, or keep what belongs together in one part."
        )
        yield _of_pairs(samples, text, pairs, wrong=True)
    if torn:
        text = f"{_counted(len(torn))} under several labels: at most one of them is right."
        places = tuple(samples.places[at] for group in torn for at in group)
        details = tuple(f"labelled {_label(samples, at)!r}" for group in torn for at in group)
        yield Finding("duplicates", text, places, details, wrong=True)
    if within:
        yield _of_pairs(samples, f"{_counted(len(within))} twice or more within a part: they count double.", within)


def balance(samples: Samples) -> Iterator[Finding]:
    """Classes without samples, of few samples, and those that dwarf others."""
    assert samples.labels_N is not None
    counts = {name: samples.labels_N[samples.of_part(name)].bincount(minlength=len(samples.classes)) for name in PARTS}
    for part in (name for name in PARTS if samples.sizes.get(name)):
        missing = [samples.classes[label] for label in (counts[part] == 0).nonzero()[:, 0].tolist()]
        if missing:
            consequence = "it can't be learned" if part == "train" else f"{part} says nothing of it"
            text = f"{part} has no sample of {listed(missing)}: {consequence}."
            yield Finding("balance", text, wrong=part == "train")
    of_train = counts["train"]
    there = of_train[of_train > 0]
    if not len(there):
        return
    few = [f"{samples.classes[label]} {of_train[label]}" for label in (of_train < _FEW).nonzero()[:, 0].tolist()]
    if few:
        yield Finding("balance", f"classes of fewer than {_FEW} training samples: {listed(few)}.")
    if int(there.max()) >= _LOPSIDED * int(there.min()):
        largest, smallest = (
            samples.classes[int((of_train == value).nonzero()[0])] for value in (there.max(), there.min())
        )
        yield Finding(
            "balance",
            f"{largest!r} has {int(there.max() / there.min()):,} times as many training samples as {smallest!r}: "
            'accuracy hides the rare one. task.metrics=["f1"] shows it, task.sampling=balanced draws it more often.',
        )


def judged_labels(samples: Samples, said: Mapping[bytes, Tensor]) -> Iterator[Finding]:
    """Labels that are probably wrong, by probabilities of trained models, of the samples that they speak of.

    Raises LabwrightError if these are none of the samples.
    """
    assert samples.labels_N is not None
    judged = torch.tensor([at for at, digest in enumerate(samples.digests) if digest in said], dtype=torch.int64)
    if not len(judged):
        raise LabwrightError("--run: none of these samples is in its valid and test parts.")
    probabilities_NC = torch.stack([said[samples.digests[at]] for at in judged.tolist()])
    yield from doubted(samples, judged, samples.labels_N[judged], probabilities_NC, samples.classes, "the run")


def labels(samples: Samples, seed: int) -> Iterator[Finding]:
    """Labels that are probably wrong, by confident learning over folds of all parts together."""
    assert samples.labels_N is not None and samples.features_ND is not None
    counts_C = samples.labels_N.bincount(minlength=len(samples.classes))
    judged_C = counts_C >= _FOLDS
    judged = judged_C[samples.labels_N].nonzero()[:, 0]
    if int(judged_C.sum()) < 2:
        return
    number_C = judged_C.long().cumsum(0) - 1  # classes renumbered without the small ones
    given_N = number_C[samples.labels_N[judged]]
    x_ND = comparable(samples.port, samples.features_ND[judged])
    probabilities_NC = out_of_fold(x_ND, given_N, int(judged_C.sum()), folds=_FOLDS, seed=seed)
    names = [name for name, enough in zip(samples.classes, judged_C.tolist(), strict=True) if enough]
    yield from doubted(samples, judged, given_N, probabilities_NC, names, "a simple classifier")


def doubted(
    samples: Samples, judged: Tensor, given_N: Tensor, probabilities_NC: Tensor, names: Sequence[str], judge: str
) -> Iterator[Finding]:
    """The finding about labels of the samples `judged`, by probabilities of models that hadn't seen them."""
    noise = label_noise(probabilities_NC, given_N)
    right = float((probabilities_NC.argmax(1) == given_N).float().mean())
    if not len(noise.suspects):
        return
    details = tuple(
        f"labelled {names[int(given_N[at])]!r}, looks like {names[int(noise.likely_N[at])]!r} "
        f"({float(probabilities_NC[at, noise.likely_N[at]]):.2f})"
        for at in noise.suspects.tolist()
    )
    text = (
        f"{len(details):,} of {len(judged):,} labels are doubtful, and {noise.share:.1%} are estimated to be wrong, by "
        f"{judge}, which agrees with {right:.1%} of the labels it hasn't seen"
        + (". Look at the first of them." if right >= _ABLE else ": no good judge, so that its doubts say little.")
    )
    places = tuple(samples.places[at] for at in judged[noise.suspects].tolist())
    yield Finding("labels", text, places, details, wrong=noise.share >= _NOISY and right >= _ABLE)


def outliers(samples: Samples) -> Iterator[Finding]:
    """Samples far from all others: by the mean distance to the nearest five, in robust deviations of its log."""
    if len(samples) < 4 * _NEIGHBOURS:
        return
    assert samples.features_ND is not None
    x_ND = comparable(samples.port, samples.features_ND)
    parts = torch.split(x_ND, _AT_ONCE)
    nearest = [torch.cdist(rows, x_ND).topk(_NEIGHBOURS + 1, largest=False).values for rows in parts]
    distances_N = torch.cat(nearest)[:, 1:].mean(1)  # the first is the sample itself
    logs_N = distances_N.clamp_min(float(distances_N.median()) * 1e-3 + 1e-12).log()
    middle = logs_N.median()
    spread = 1.4826 * float((logs_N - middle).abs().median())
    if not spread:
        return
    scores_N = (logs_N - middle) / spread
    far = (scores_N > _FAR).nonzero()[:, 0]
    far = far[scores_N[far].argsort(descending=True)]
    if len(far):
        details = tuple(f"{float((logs_N[at] - middle).exp()):.1f} times as far as usual" for at in far.tolist())
        text = f"{_counted(len(far))} unlike all others: mistakes, or what there is too little of."
        yield Finding("outliers", text, tuple(samples.places[at] for at in far.tolist()), details)


def drift(samples: Samples, seed: int) -> Iterator[Finding]:
    """Parts that differ from `train`: in their classes' shares, and in what a classifier can tell them apart by."""
    train = samples.of_part("train")
    for part in PARTS[1:]:
        other = samples.of_part(part)
        if not len(train) or not len(other):
            continue
        if samples.labels_N is not None:
            yield from _label_shift(samples, part, samples.labels_N[train], samples.labels_N[other])
        yield from _feature_shift(samples, part, train, other, seed)


def _label_shift(samples: Samples, part: str, train_N: Tensor, other_N: Tensor) -> Iterator[Finding]:
    """The chi-squared test of homogeneity, where the shares differ by enough to matter."""
    classes = len(samples.classes)
    counts_KC = torch.stack([some.bincount(minlength=classes) for some in (train_N, other_N)]).double()
    counts_KC = counts_KC[:, counts_KC.sum(0) > 0]
    expected_KC = counts_KC.sum(1, keepdim=True) * counts_KC.sum(0) / counts_KC.sum()
    statistic = ((counts_KC - expected_KC) ** 2 / expected_KC).sum()
    freedom = torch.tensor(max(1, counts_KC.shape[1] - 1), dtype=torch.float64)
    by_chance = float(torch.special.gammaincc(freedom / 2, statistic / 2))
    shares_KC = counts_KC / counts_KC.sum(1, keepdim=True)
    moved = float((shares_KC[0] - shares_KC[1]).abs().sum()) / 2
    if by_chance < _RARE and moved > _MOVED:
        yield Finding(
            "drift",
            f"the classes of {part} are mixed otherwise than those of train: {moved:.0%} of the samples would have to "
            "be of another class. Hold parts out by class, or know why they differ.",
        )


def _feature_shift(samples: Samples, part: str, train: Tensor, other: Tensor, seed: int) -> Iterator[Finding]:
    """A classifier two-sample test (Lopez-Paz & Oquab 2017), by the area under the ROC curve."""
    if min(len(train), len(other)) < 4 * _FOLDS:
        return
    assert samples.features_ND is not None
    drawn = [
        some[torch.randperm(len(some), generator=generator(seed, number, 14))[:_DRIFT_SAMPLES]]
        for number, some in enumerate((train, other))
    ]
    of_other_N = torch.cat([torch.full((len(some),), number) for number, some in enumerate(drawn)])
    x_ND = comparable(samples.port, samples.features_ND[torch.cat(drawn)])
    scores_N = out_of_fold(x_ND, of_other_N, 2, folds=_FOLDS, seed=seed)[:, 1]
    area, deviation = area_under_curve(scores_N, of_other_N)
    if area > _TOLD_APART and area - 0.5 > _SURE * deviation:
        yield Finding(
            "drift",
            f"samples of {part} can be told from those of train (area under the ROC curve {area:.2f}; 0.5 is chance): "
            f"{part} measures something else than was learned. Another camera, time, place or speaker?",
        )


def area_under_curve(scores_N: Tensor, positive_N: Tensor) -> tuple[float, float]:
    """The area under the ROC curve, ties half, and its standard deviation where the scores say nothing.

    It is the Mann-Whitney statistic over the number of pairs: sqrt((n + m + 1) / (12 n m)).
    """
    ordered, places = torch.unique(scores_N, return_inverse=True)
    upto = places.bincount(minlength=len(ordered)).cumsum(0).double()
    ranks_N = (upto - (places.bincount(minlength=len(ordered)) - 1) / 2)[places]
    m, n = int(positive_N.sum()), int((1 - positive_N).sum())
    area = (float(ranks_N[positive_N == 1].sum()) - m * (m + 1) / 2) / (m * n)
    return area, math.sqrt((n + m + 1) / (12 * n * m))


def _of_pairs(samples: Samples, text: str, pairs: Sequence[tuple[int, int]], *, wrong: bool = False) -> Finding:
    """A finding about samples, each with the one it is the same as."""
    places = tuple(samples.places[at] for at, _ in pairs)
    details = tuple("the same as {} {}".format(*samples.places[other]) for _, other in pairs)
    return Finding("duplicates", text, places, details, wrong)


def _label(samples: Samples, at: int) -> str:
    assert samples.labels_N is not None
    return samples.classes[int(samples.labels_N[at])]


def _counted(count: int) -> str:
    return "1 sample is" if count == 1 else f"{count:,} samples are"
