"""What is looked for in any data, each check a function of the samples. N samples, D features, C classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from labwright import Audio, Finding, LabwrightError, listed
from torch import Tensor

from labwright_tasks.checking.classifier import out_of_fold
from labwright_tasks.checking.drift import Drift
from labwright_tasks.checking.features import comparable
from labwright_tasks.checking.label_noise import label_noise
from labwright_tasks.checking.look_alikes import look_alikes
from labwright_tasks.checking.samples import PARTS, Copies, Samples

_FOLDS = 5
_FEW = 10  # samples of a class; with fewer nothing can be learned of it
_LOPSIDED = 10  # times as many samples in the largest class as in the smallest
_NEAR = 0.15  # of the usual distance to the nearest
_FAR = 5.0  # robust deviations from which on a sample is far from all others
_NEIGHBOURS = 5
_AT_ONCE = 1024  # rows whose distances are in memory
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


def nearest(samples: Samples) -> tuple[Tensor, Tensor]:
    """The distances to the nearest five other samples, (N, 5), and their positions."""
    assert samples.features_ND is not None
    x_ND = comparable(samples.port, samples.features_ND)
    distances, places = [], []
    for first, rows in enumerate(torch.split(x_ND, _AT_ONCE)):
        distances_BN = torch.cdist(rows, x_ND)
        itself_B = torch.arange(len(rows)) + first * _AT_ONCE
        distances_BN[torch.arange(len(rows)), itself_B] = torch.inf
        found = distances_BN.topk(_NEIGHBOURS, largest=False)
        distances.append(found.values)
        places.append(found.indices)
    return torch.cat(distances), torch.cat(places)


def near_copies(samples: Samples, neighbours: tuple[Tensor, Tensor] | None) -> Iterator[Finding]:
    """Pictures that look the same as another, and recordings nearer to one than a seventh of what is usual."""
    if samples.greys_ND is not None:
        near = [(at, other, -alike) for at, other, alike in look_alikes(samples.greys_ND)]
    elif isinstance(samples.port, Audio) and neighbours is not None:
        distances_N, others_N = (tensor[:, 0] for tensor in neighbours)
        nearer = (distances_N < _NEAR * distances_N.median()).nonzero()[:, 0].tolist()
        near = [(at, int(others_N[at]), float(distances_N[at])) for at in nearer]
    else:
        return  # of few numbers many are near by chance
    pairs = {(max(at, other), min(at, other)): far for at, other, far in near}
    pairs = {pair: far for pair, far in pairs.items() if samples.digests[pair[0]] != samples.digests[pair[1]]}
    apart = {pair for pair in pairs if samples.places[pair[0]][0] != samples.places[pair[1]][0]}
    if pairs:
        ordered = sorted(pairs, key=lambda pair: (pair not in apart, pairs[pair]))
        across = f", {len(apart):,} of them in another part" if apart else ""
        text = f"{_counted(len(pairs))} nearly the same as another{across}: copies saved anew, or moments of one scene?"
        yield _of_pairs(samples, text, ordered, "nearly the same as")


def outliers(samples: Samples, neighbours: tuple[Tensor, Tensor]) -> Iterator[Finding]:
    """Samples far from all others: by the mean distance to the nearest five, in robust deviations of its log."""
    distances_N = neighbours[0].mean(1)
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


def drift(measured: Mapping[str, Drift]) -> Iterator[Finding]:
    """Parts that differ from `train`: in their classes' shares, and in what a classifier can tell them apart by."""
    for part, of_part in measured.items():
        if of_part.is_mixed_otherwise:
            yield Finding(
                "drift",
                f"the classes of {part} are mixed otherwise than those of train: {of_part.moved:.0%} of the samples "
                "would have to be of another class. Hold parts out by class, or know why they differ.",
            )
        if of_part.is_told_apart:
            yield Finding(
                "drift",
                f"samples of {part} can be told from those of train (area under the ROC curve {of_part.area:.2f}; 0.5 "
                f"is chance): {part} measures something else than was learned. Another camera, time, place or speaker?",
                of_part.unlike,
            )


def _of_pairs(
    samples: Samples, text: str, pairs: Sequence[tuple[int, int]], how: str = "the same as", *, wrong: bool = False
) -> Copies:
    """A finding about samples, each with the one it is the same as."""
    places, others = (tuple(samples.places[at] for at in some) for some in zip(*pairs, strict=True))
    details = tuple(f"{how} {samples.named(*other)}" for other in others)
    return Copies("duplicates", text, places, details, wrong, others)


def _label(samples: Samples, at: int) -> str:
    assert samples.labels_N is not None
    return samples.classes[int(samples.labels_N[at])]


def _counted(count: int) -> str:
    return "1 sample is" if count == 1 else f"{count:,} samples are"
