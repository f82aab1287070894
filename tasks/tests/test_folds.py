"""Folds: nothing is in two of them, classes keep their shares, groups stay whole, and time runs forward."""

from __future__ import annotations

import math
import re

import labwright as lw
import pytest
import torch
from labwright import Augmented, Batch, Classes, Data, Features, Labelled, LabwrightError, Port, Ragged, Tokens, Values
from labwright_tasks.cross_validation.interval import corrected_interval, t_below, t_quantile
from labwright_tasks.cross_validation.lacking import lacking
from labwright_tasks.fold_data import Chosen, Fold
from labwright_tasks.folds import by_group, in_time, stratified
from labwright_tasks.sequence_to_sequence import PairedTokens, TargetTokens
from torch import Tensor, nn


@pytest.mark.parametrize("count", [2, 5, 7])
def test_each_class_and_each_fold_has_its_share_to_within_one_sample(count):
    labels = torch.tensor([0] * 33 + [1] * 12 + [2] * 5)[torch.randperm(50, generator=torch.Generator().manual_seed(0))]
    folds = stratified(labels, count, seed=0)
    assert folds.bincount(minlength=count).max() - folds.bincount(minlength=count).min() <= 1
    for label in range(3):
        of_class = folds[labels == label].bincount(minlength=count)
        assert of_class.max() - of_class.min() <= 1
    assert torch.equal(folds, stratified(labels, count, seed=0))
    assert not torch.equal(folds, stratified(labels, count, seed=1))


def test_groups_stay_whole_and_the_largest_are_dealt_first():
    # sizes 5, 3, 2, 2: the smallest fold takes the next, so 5 alone with nothing, then 3 + 2 against 5, and 2 ties
    groups = torch.tensor([7] * 5 + [1] * 3 + [4] * 2 + [9] * 2)
    folds = by_group(groups, 2, seed=0)
    assert all(len(folds[groups == group].unique()) == 1 for group in (7, 1, 4, 9))
    assert sorted(folds.bincount().tolist()) == [5, 7]
    with pytest.raises(LabwrightError, match="4 groups are too few for 5 folds"):
        by_group(groups, 5, seed=0)


def test_groups_are_dealt_as_evenly_as_scikit_learn_does():
    selection = pytest.importorskip("sklearn.model_selection")
    groups = torch.randint(40, (500,), generator=torch.Generator().manual_seed(0))
    theirs = selection.GroupKFold(5).split(torch.zeros(500), groups=groups)
    assert sorted(by_group(groups, 5, seed=0).bincount().tolist()) == sorted(len(test) for _, test in theirs)


def test_time_runs_forward_as_in_scikit_learns_time_series_split():
    selection = pytest.importorskip("sklearn.model_selection")
    times = torch.arange(60).flip(0)  # the last sample is the earliest
    folds = in_time(times, 5)
    for (seen, held_out), (theirs_seen, theirs_out) in zip(
        folds, selection.TimeSeriesSplit(5).split(times), strict=True
    ):
        assert (59 - seen).tolist() == theirs_seen.tolist()
        assert (59 - held_out).tolist() == theirs_out.tolist()


def test_samples_of_one_moment_are_never_on_both_sides():
    times = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 5, 5])
    for seen, held_out in in_time(times, 3):
        assert times[seen].max() < times[held_out].min()
    # wanted are cuts at 3, 7 and 10; times begin at 4, 7, 9, 10 and 11
    assert [len(seen) for seen, _ in in_time(times, 3)] == [4, 7, 10]
    with pytest.raises(LabwrightError, match="2 different times are too few for 3 folds"):
        in_time(torch.tensor([0, 0, 1, 1]), 3)


# ------------------------------------------------------------------------------------------------ the interval


def test_the_interval_is_the_corrected_one_worked_out_by_hand():
    # s**2 of 0.90, 0.92, 0.94, 0.96, 0.98 is 0.001; (1 / 5 + 1 / 4) * 0.001 = 0.00045; t of 4 degrees: 2.7764
    low, high = corrected_interval([0.90, 0.92, 0.94, 0.96, 0.98], held_out=1 / 4)
    assert high - 0.94 == pytest.approx(2.776445 * math.sqrt(0.00045), rel=1e-6)
    assert 0.94 - low == pytest.approx(high - 0.94)


def test_quantiles_of_t_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (1, 2, 3, 4, 9, 30):
        assert t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
        assert t_below(1.3, freedom) == pytest.approx(stats.t.cdf(1.3, freedom), rel=1e-12)


# --------------------------------------------------------------------------------------------- one fold as data


class Part:
    """Numbered samples: the input is the number, so that it can be told where a sample went."""

    def __init__(self, numbers: Tensor, augmented: bool = False) -> None:
        self.numbers, self.augmented = numbers, augmented
        self.labels = numbers % 3

    def __len__(self) -> int:
        return len(self.numbers)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
        shift = 0.5 if self.augmented else 0.0
        return Batch((self.numbers[indices, None].float() + shift,), self.labels[indices])

    def plain(self) -> Part:
        return Part(self.numbers)


class Numbers(Data):
    item, target = Features, Classes
    source, licence = "made up", "CC0"

    def __init__(self, **facts: Tensor) -> None:
        self.facts = facts
        self.parts = {
            "train": Part(torch.arange(60), augmented=True),
            "valid": Part(torch.arange(60, 90)),
            "test": Part(torch.arange(90, 100)),
        }

    def prepare(self) -> None:
        for fact, values in self.facts.items():
            for part in self.parts.values():
                setattr(part, fact, values[part.numbers])
                type(part).plain = lambda self: _with_facts(self)

    def ports(self) -> tuple[Port, Port]:
        return Features((1,)), Classes(("a", "b", "c"))

    def split(self, name: str) -> Part | None:
        return self.parts.get(name)

    def place(self, split: str, index: int) -> str:
        return f"number {int(self.parts[split].numbers[index])}"


def _with_facts(part: Part) -> Part:
    plain = Part(part.numbers)
    vars(plain).update({key: value for key, value in vars(part).items() if key in ("groups", "times")})
    return plain


def numbers_of(fold: Fold) -> dict[str, Tensor]:
    fold.prepare()
    whole = {name: fold.split(name) for name in ("train", "valid", "test")}
    return {
        name: part.plain().fetch(torch.arange(len(part)), 0, 0).inputs[0][:, 0].long()
        for name, part in whole.items()
        if part is not None
    }


def test_folds_hold_out_each_sample_of_train_and_valid_once_and_never_one_of_test():
    folds = [numbers_of(Fold(Numbers(), number=number, of=5)) for number in range(1, 6)]
    assert sorted(torch.cat([fold["test"] for fold in folds]).tolist()) == list(range(90))
    for fold in folds:
        assert sorted(torch.cat([*fold.values()]).tolist()) == list(range(90))
        assert len(fold["valid"]) == pytest.approx(0.1 * 72, abs=1)
        assert (fold["test"] % 3).bincount().tolist() == [6, 6, 6]


def test_a_test_part_is_said_to_stay_out_where_there_is_one():
    data = Numbers()
    fold = Fold(data, number=1, of=5)
    fold.prepare()
    assert fold.remarks()[-1] == (
        "fold 1 of 5, dealt out each class in proportion; the test part of Numbers stays out."
    )
    del data.parts["test"]
    assert fold.remarks()[-1] == "fold 1 of 5, dealt out each class in proportion."


def test_what_is_learned_from_is_augmented_and_what_measures_is_not():
    fold = Fold(Numbers(), number=1, of=3)
    fold.prepare()
    train, test = fold.split("train"), fold.split("test")
    x = train.fetch(torch.arange(len(train)), 0, 0).inputs[0]
    assert (x % 1 == 0.5).sum() == sum(train.origin(index)[0] == 0 for index in range(len(train)))
    assert (test.fetch(torch.arange(len(test)), 0, 0).inputs[0] % 1 == 0).all()
    assert isinstance(train, Augmented) and isinstance(train, Labelled) and not isinstance(train, Ragged)


def test_samples_keep_their_labels_and_places_in_any_order_over_both_parts():
    fold = Fold(Numbers(), number=2, of=3)
    fold.prepare()
    test = fold.split("test")
    some = torch.tensor([len(test) - 1, 0, 3])
    batch = test.fetch(some, 0, 0)
    assert torch.equal(batch.targets, batch.inputs[0][:, 0].long() % 3)
    assert torch.equal(batch.targets, test.labels[some])
    assert fold.place("test", 3) == f"number {int(batch.inputs[0][2])}"


def test_known_groups_are_kept_together_in_all_parts():
    groups = torch.arange(100) // 4
    parts = numbers_of(Fold(Numbers(groups=groups), number=1, of=4, valid=0.25))
    seen = [set(groups[numbers].tolist()) for numbers in parts.values()]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.3, 0.4, 0.6, 0.9])
def test_the_share_that_is_asked_for_is_held_out(share: float):
    parts = numbers_of(Fold(Numbers(), number=1, of=3, valid=share))
    assert len(parts["valid"]) == pytest.approx(share * 60, abs=1) and len(parts["train"]) > 0
    groups = torch.arange(100) // 4
    parts = numbers_of(Fold(Numbers(groups=groups), number=1, of=3, valid=max(share, 0.1)))
    assert len(parts["valid"]) == pytest.approx(max(share, 0.1) * 60, abs=4)


def test_known_times_make_each_fold_learn_from_what_came_before():
    times = torch.arange(100).flip(0)
    for number in (1, 4):
        parts = numbers_of(Fold(Numbers(times=times), number=number, of=4, valid=0.2))
        assert times[parts["train"]].max() < times[parts["valid"]].min()
        assert times[parts["valid"]].max() < times[parts["test"]].min()


def test_by_overrules_what_the_data_knows_and_is_refused_where_it_knows_nothing():
    groups = torch.arange(100) // 4
    fold = Fold(Numbers(groups=groups), number=1, of=3, by="class")
    fold.prepare()
    assert "each class in proportion" in fold.remarks()[-1]
    with pytest.raises(LabwrightError, match=r"given 'time', which Numbers doesn't tell.*'group', 'class', 'nothing'"):
        Fold(Numbers(groups=groups), number=1, of=3, by="time").prepare()


class Line(nn.Linear):
    def __init__(self, inputs: Features, outputs: Classes) -> None:
        super().__init__(1, len(outputs.names))


def experiment_of(data: Data, optimizer="adam", stop=(), **train) -> lw.Experiment:
    return lw.Experiment(
        task={"name": "classification", "data": data},
        model=Line,
        loss="cross-entropy",
        optimizer=optimizer,
        stop=stop,
        train={"epochs": 1} | train,
    )


@pytest.mark.parametrize("by", ["class", "nothing"])
def test_what_folds_lack_is_what_each_lacks_once_it_is_prepared(by):
    data = Numbers()
    labels = torch.arange(100) % 2
    labels[[5, 50]] = 2  # two samples of 90
    for part in data.parts.values():
        part.labels = labels[part.numbers]
    folds = [Fold(data, number=number, of=4, by=by) for number in range(1, 5)]
    wanted = set()
    for fold in folds:
        fold.prepare()
        for name in ("train", "valid", "test"):
            rare = (
                labels[fold.split(name).fetch(torch.arange(len(fold.split(name))), 0, 0).inputs[0][:, 0].long()] == 2
            ).sum()
            wanted |= {(name, str(fold.number))} if not rare else set()
    experiment = experiment_of(folds[2])
    notes = [*lacking(experiment, experiment.prepared())]
    told = {(note.split(": ")[1].split()[0], fold) for note in notes for fold in re.findall(r"\d", note.split(":")[0])}
    assert told == wanted and wanted
    assert all("has no sample of class 'c', so that " in note for note in notes)


def test_a_part_that_is_empty_in_a_later_fold_is_refused_before_the_first_is_trained_where_it_is_needed():
    # of 90 in 4 folds in the order of time, the first learns from 18: 0.02 of them is no sample, of the last 72 it is 1
    fold = Fold(Numbers(times=torch.arange(100)), number=4, of=4, valid=0.02)
    plateau = {"name": "adam", "schedule": "reduce-on-plateau"}
    for watching in ({}, {"final": "best"}, {"stop": ["early"]}, {"optimizer": plateau}):
        experiment = experiment_of(fold, **watching)
        task = experiment.prepared()
        assert len(task.part("valid")) == 1
        if watching:
            with pytest.raises(
                LabwrightError, match=r"fold 1 of 4 has no 'valid' sample \(train 18, valid 0, test 18\)"
            ):
                list(lacking(experiment, task))
        else:
            assert [note for note in lacking(experiment, task) if "fold 1 of 4 has no 'valid' sample" in note]


def test_samples_are_as_independent_as_those_they_are_folds_of():
    data = Numbers()
    assert "accuracy_95" in experiment_of(Fold(data, number=1, of=2)).prepared().metrics()
    data.independent = False
    assert "accuracy_95" not in experiment_of(Fold(data, number=1, of=2)).prepared().metrics()


def test_texts_of_both_parts_are_made_as_long_as_the_longest_in_a_batch():
    class Texts:
        def __init__(self, ids: Tensor) -> None:
            self.ids = ids
            self.lengths = torch.full((len(ids),), ids.shape[1])

        def __len__(self) -> int:
            return len(self.ids)

        def fetch(self, indices: Tensor, epoch: int, seed: int) -> Batch:
            return Batch((self.ids[indices], self.lengths[indices]), torch.zeros(len(indices)))

    both = Chosen(
        [Texts(torch.ones(2, 3, dtype=torch.int64)), Texts(torch.full((2, 5), 2))], torch.arange(4), filling=(9, -100)
    )
    ids, lengths = both.fetch(torch.tensor([3, 0, 2]), 0, 0).inputs
    assert ids.tolist() == [[2] * 5, [1, 1, 1, 9, 9], [2] * 5]
    assert lengths.tolist() == both.lengths[[3, 0, 2]].tolist() == [5, 3, 5]


def test_the_identity_of_a_fold_is_of_its_own_samples():
    made = Numbers()
    made.identity = lambda split: [split]
    folds = [Fold(made, number=number, of=3) for number in (1, 2)]
    for fold in folds:
        fold.prepare()
    first, second = ([*fold.identity("test")] for fold in folds)
    assert first[:2] == second[:2] == ["train", "valid"] and first != second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"number": 6, "of": 5}, "given 6; of 5 folds it is 1 to 5"),
        ({"number": 1, "of": 50}, "90 samples are too few for 50 folds"),
    ],
)
def test_folds_that_there_cannot_be_are_refused(settings, message):
    with pytest.raises(LabwrightError, match=message):
        Fold(Numbers(), **settings).prepare()


def test_targets_that_are_no_classes_are_dealt_out_at_random(values):
    fold = Fold(values, number=1, of=4)
    fold.prepare()
    assert isinstance(fold.ports()[1], Values)
    assert "at random" in fold.remarks()[-1]
    assert len(fold.split("test")) == 25


def test_text_is_filled_up_with_its_own_sign():
    made = Numbers()
    made.ports = lambda: (Tokens(10, 5, pad_id=3), Classes(("a", "b", "c")))
    fold = Fold(made, number=1)
    fold.prepare()
    assert fold.split("test").filling == (3, 0)


def test_targets_of_two_parts_are_filled_up_with_what_does_not_count():
    """The target of each pair is its source: filled up with a token, a shorter one would ask for more than it has."""
    ids = [[5, 6], [7], [5, 6, 7, 8], [8, 8, 8]]
    made = Numbers()
    made.target = TargetTokens
    made.ports = lambda: (Tokens(10, 5, pad_id=3), TargetTokens(10, 5, pad_id=3))
    made.split = {
        "train": PairedTokens(ids[:2], ids[:2], pad_id=3),
        "valid": PairedTokens(ids[2:], ids[2:], pad_id=3),
    }.get
    fold = Fold(made, number=1, of=2)
    fold.prepare()
    whole = fold._whole().fetch(torch.arange(4), 0, 0)
    assert whole.targets.tolist() == [row + [-100] * (4 - len(row)) for row in ids]
    assert whole.inputs[0].tolist() == [row + [3] * (4 - len(row)) for row in ids]


def test_groups_too_few_for_the_part_that_chooses_are_told_by_the_setting_of_its_share():
    settings = {"number": 2, "of": 3}
    groups = torch.arange(100) // 12  # eight in its 90 samples, of which this fold learns from five
    with pytest.raises(LabwrightError, match=r"task\.data\.valid: given 0\.1, and 5 groups are what fold 2 "):
        Fold(Numbers(groups=groups), **settings).prepare()
    parts = numbers_of(Fold(Numbers(groups=groups), **settings, valid=0.2))
    assert sum(map(len, parts.values())) == 90 and len(set(groups[parts["valid"]].tolist())) == 1
