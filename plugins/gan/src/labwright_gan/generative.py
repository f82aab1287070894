"""What tasks that make samples share: the data, the judge, the measures, and how samples are asked for and shown.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import torch
from labwright import (
    Attachment,
    Augmented,
    Batch,
    Classes,
    Data,
    Features,
    Goal,
    Image,
    IndexedBatches,
    Labelled,
    LabwrightError,
    Metric,
    Split,
    Task,
    evaluating,
    generator,
    listed,
    nearest,
)
from labwright_tasks.floors import of_model
from torch import Tensor, nn

from labwright_gan import judge as judges
from labwright_gan.data.ring import KnownModes
from labwright_gan.metrics import FID, KID, EnergyDistance, JudgeAccuracy, Modes, ReadAsAsked, Seen, Spread
from labwright_gan.neighbours import Memorised, Neighbours
from labwright_gan.pictures import Scaling, png

if TYPE_CHECKING:
    from labwright import Section

_SEED, _REPORT_SEED = 31, 32  # of latents that belong to a line of text, and of those a report shows
_ROWS, _COLUMNS = 10, 8  # of a report's sheet: classes, or rows of any; samples in a row
_LOOKED_AT = 2000  # samples, at random, which a report draws or looks among, and whose measures stand beside a model's
_DIGITS = 18  # that a seed has at most
_WAYS = 4  # from one latent to another
_ON_ONE_LINE = 1e-3  # the sine of the angle between two latents
JUDGE_EPOCHS = 10  # unless a recipe says otherwise
_FILMED = 2  # samples of each row of a film's frame
_AT_ONCE = 256  # training samples
_JUDGE = "judge.safetensors"  # the small classifier's weights, beside what else the task keeps


@dataclass(frozen=True)
class Measured(Batch):
    """Samples, and the latents (B, ...) of as many that are generated to be measured beside them."""

    latents: Tensor


class _Beside:
    """A part of the data with the latents of what is measured beside it: a function of the seed and the index alone."""

    def __init__(self, part: Split, shape: tuple[int, ...]) -> None:
        self.part, self.shape = part, shape

    def __len__(self) -> int:
        return len(self.part)

    def fetch(self, indices: Tensor, epoch: int, seed: int) -> Measured:
        batch = self.part.fetch(indices, epoch, seed)
        return Measured(batch.inputs, batch.targets, _latents(len(self), self.shape, seed)[indices])


@lru_cache(maxsize=2)  # a loader worker asks for the part anew with each batch, and there are a valid and a test part
def _latents(count: int, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(count, *shape, generator=generator(seed, 3))


class Shown(nn.Module):
    """Samples that are there in the place of generated ones: one after the other, of the classes asked for.

    With `each_alone` each value is that of a sample of its own, so that nothing goes together.
    """

    def __init__(self, samples: Tensor, labels: Tensor | None = None, *, each_alone: bool = False) -> None:
        super().__init__()
        self.samples, self.labels, self.each_alone = samples, labels, each_alone
        self.draws = generator(_REPORT_SEED)

    def forward(self, latents: Tensor, asked: Tensor | None = None) -> Tensor:
        chances = torch.rand(len(latents), len(self.samples), generator=self.draws)
        if self.labels is not None and asked is not None:
            chances -= (asked[:, None] != self.labels).float()  # others only where a class has no sample
        if not self.each_alone:
            return self.samples[chances.argmax(1)]
        flat = self.samples.flatten(1)
        rows = torch.randint(len(flat), (len(latents), flat.shape[1]), generator=self.draws)
        return flat.gather(0, rows).view(len(latents), *self.samples.shape[1:])


class Generative(Task):
    """Make samples like those of the data, of a class if `conditional`, and measure them beside real ones.

    Pictures are scaled to -1..1 by the smallest and largest values of the training part, each channel by itself; points
    are left as they are. A derived class says what a sample is made from (`latent_shape`) and how (`sampled`).

    Points are measured by their energy distance and, where the data knows its modes, how they lie about these. Pictures
    are measured on the features of a judge by FID, KID, precision, recall, density and coverage; on the test part also
    by how often training pictures are their nearest. Conditional ones are measured by the share that the judge reads as
    the class asked for, by the spread within classes, and on the test part by what a classifier learns from them alone.
    The judge is a small classifier that learns from the training part when the data is read, or that of a run, of which
    a copy is kept. Its features are the 64 values before its last layer, or what enters the last linear layer of the
    run's model; without classes, or with pictures of one alone, pixels averaged to 8x8.

    Args:
        data: pictures, or points, that samples are to be like.
        conditional: whether a sample is made of a class that is asked for; needs data with classes.
        judge: folder of a run whose classifier of the same pictures and classes measures what is made; left out, a
            small one is trained.
        judge_epochs: passes that the small classifier makes over the training part, and with `conditional` the one that
            learns from generated pictures alone over these.
        film: how many moments of the training the report shows pictures of, as a film; 0: none.

    Raises LabwrightError for data that is neither pictures nor points, for classes the data hasn't, and in `prepare`
    for a split with fewer than two samples, a judge of other pictures, or pictures of one class where it is asked for.
    """

    def __init__(self, data: Data, *, conditional: bool, judge: Path | None, judge_epochs: int, film: int) -> None:
        if not issubclass(data.item, Image | Features):
            raise LabwrightError(
                f"task.data: this task makes pictures or points; {type(data).__name__} offers {data.item.__name__}."
            )
        for setting, given in (("conditional", conditional), ("judge", judge)):
            if given and not issubclass(data.target, Classes):
                raise LabwrightError(
                    f"task.{setting}: it needs classes; {type(data).__name__} has targets {data.target.__name__}."
                )
        if judge is not None and not issubclass(data.item, Image):
            raise LabwrightError(f"task.judge: a judge looks at pictures; {type(data).__name__} offers points.")
        if film and not issubclass(data.item, Image):
            raise LabwrightError(f"task.film: it shows pictures; {type(data).__name__} offers points. Leave it out.")
        if judge_epochs != JUDGE_EPOCHS and (not issubclass(data.item, Image) or (judge and not conditional)):
            why = "task.judge has learned already" if judge else f"{type(data).__name__} offers points, without a judge"
            raise LabwrightError(f"task.judge_epochs: given {judge_epochs}, and {why}. Leave it out.")
        self.data, self.conditional, self.judge_epochs = data, conditional, judge_epochs
        self.judge_folder = self.named_judge = None if judge is None else judge.expanduser()
        self.scaling: Scaling | None = None
        self.judge: judges.Judge | None = None
        self.keeps_judge = True
        self.begun: Path | None = None  # what the task of a run kept that is gone on with or evaluated
        self.film = film
        # of each model by itself, as trials may share a task; made when there are any
        self._frames: WeakKeyDictionary[nn.Module, dict[int, Tensor]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_frames": None}  # loader workers have no use for them, and can't be given them

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """The shape of the normal values that one sample is made from."""

    @abstractmethod
    def sampled(self, model: nn.Module, latents: Tensor, labels: Tensor | None) -> Tensor:
        """Samples made from latents, of the classes asked for if `conditional`."""

    @property
    def goal(self) -> Goal:  # type: ignore[override]  # it depends on what is made
        return Goal("fid" if self.of_pictures else "energy_distance", "minimize")

    @property
    def of_pictures(self) -> bool:
        return issubclass(self.data.item, Image)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their labels; none if the data has none."""
        target = self.data.ports()[1]
        return target.names if isinstance(target, Classes) else ()

    # ---------------------------------------------------------------------------------------------------- the data

    def prepare(self) -> None:
        super().prepare()
        for name in ("train", "valid", "test"):
            part = self.data.split(name)
            if part is not None and len(part) == 1:
                raise LabwrightError(
                    f"task.data: the {name!r} split of {type(self.data).__name__} has 1 sample; what is generated is "
                    "compared with 2 or more."
                )
        train = self.data.split("train")
        picture, target = self.data.ports()
        if train is None or not len(train) or not isinstance(picture, Image):
            return
        self.scaling = Scaling.of(train, f"task.data: {type(self.data).__name__}")
        if self.judge_folder is not None:
            self.judge = judges.of_run(self.judge_folder, (picture, target))
            if self.keeps_judge and self.judge_folder == self.named_judge:  # else the run has begun with it
                judges.check_numbers(self.judge_folder, self.data)
        elif isinstance(target, Classes) and not self._of_one_class(train, target.names):
            self.judge = self._kept_judge(train, picture) or judges.trained(
                train, picture, len(target.names), self.judge_epochs
            )
        else:
            self.judge = judges.Pixels()

    def _of_one_class(self, train: Split, names: Sequence[str]) -> bool:
        """Whether nothing can be learned by telling classes apart. Raises LabwrightError if classes are asked for."""
        occurring = [names[label] for label in classes_of(train)]
        if len(occurring) < 2 and self.conditional:
            raise LabwrightError(
                f"task.conditional: of the classes {listed(names)} the training pictures are of {listed(occurring)} "
                "alone, so that there is nothing to ask for. false makes such pictures, by a model that isn't told a "
                "class, as 'gan/dcgan'."
            )
        return len(occurring) < 2

    def _kept_judge(self, train: Split, picture: Image) -> judges.SmallCNN | None:
        """The small classifier that a run keeps, if it learned from these very pictures in as many passes.

        Learned anew, with other threads or on another machine, it would differ in its last digits.
        """
        if self.begun is None or not (self.begun / _JUDGE).is_file():
            return None
        facts = json.loads((self.begun / "facts.json").read_text(encoding="utf-8"))
        same = facts == self._facts(train)  # one of before there was the number of passes learns it anew
        return judges.kept(self.begun / _JUDGE, picture, len(self.names)) if same else None

    def _facts(self, train: Split) -> dict[str, Any]:
        """What the run's judge, and what it draws, come of."""
        return {"training": digest(train), "classes": len(self.names), "judge_epochs": self.judge_epochs}

    def resumes_from(self, folder: Path) -> None:
        """The judge is the one that the run keeps. Raises LabwrightError if another run's is asked for."""
        self.begun = folder
        kept = folder / "judge.json"
        if not kept.is_file():  # one of before there were copies needs its judge where it was
            self.keeps_judge = False
            return
        was = json.loads(kept.read_text(encoding="utf-8"))["run"]
        if str(self.named_judge) != was:
            raise LabwrightError(
                f"task.judge: given {str(self.named_judge)!r}; this run keeps a copy of its judge, {was!r}, so that "
                "all its figures are of one. Leave task.judge as it is, or begin a new run."
            )
        self.judge_folder = folder / "judge"

    def on(self, path: Path) -> Self:
        other = super().on(path)
        if other.judge is None and other.judge_folder is not None:
            other.judge = judges.of_run(other.judge_folder, other.data.ports())
        return other

    def part(self, split: str, plain: bool = False) -> Split | None:
        """The data's own part, and what is made beside it when it is measured: not beside what is trained on."""
        part = super().part(split, plain)
        trained_on = split == "train" and not plain
        return part if part is None or trained_on else _Beside(part, self.latent_shape)

    def save(self, folder: Path) -> None:
        """The data's own in `data/`; the scaling of pictures; the judge, be it trained here or another run's."""
        from safetensors.torch import save_file

        (folder / "data").mkdir()
        self.data.save(folder / "data")
        train = self.data.split("train")
        if train is not None and self.of_pictures:  # for `gan/augmented`, which asks where a generator comes from
            (folder / "facts.json").write_text(json.dumps(self._facts(train)) + "\n", encoding="utf-8")
        if self.scaling is not None:
            scaling = {"low": self.scaling.low, "high": self.scaling.high}
            (folder / "scaling.json").write_text(json.dumps(scaling) + "\n", encoding="utf-8")
        if isinstance(self.judge, judges.SmallCNN):
            save_file(self.judge.state_dict(), folder / _JUDGE)
        if self.judge_folder is not None and self.keeps_judge:
            judges.copied(self.judge_folder, folder / "judge")
            (folder / "judge.json").write_text(json.dumps({"run": str(self.named_judge)}) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        self.data.load(folder / "data")
        picture = self.data.ports()[0]
        if (folder / "scaling.json").is_file():
            kept = json.loads((folder / "scaling.json").read_text(encoding="utf-8"))
            self.scaling = Scaling(tuple(kept["low"]), tuple(kept["high"]))
        if (folder / _JUDGE).is_file() and isinstance(picture, Image):
            self.judge = judges.kept(folder / _JUDGE, picture, len(self.names))
        elif (folder / "judge").is_dir():  # taken up when something is to be measured
            self.judge_folder = folder / "judge"
        elif isinstance(picture, Image) and self.judge_folder is None:
            self.judge = judges.Pixels()

    # ----------------------------------------------------------------------------------------- the measure of success

    def evaluate(self, model: nn.Module, batch: Measured) -> tuple[Seen]:
        """As many generated samples as real ones, of their classes if conditional."""
        given, labels = batch.inputs[0], batch.targets
        fake = self._samples(model, batch.latents, labels).float()
        real = self._scaled(given)
        if self.judge is None or self.scaling is None:
            return (Seen(real, fake, labels, real.flatten(1), fake.flatten(1)).cpu(),)
        judge = self.judge.to(given.device)
        with torch.autocast(given.device.type, enabled=False):
            real_features, real_logits = judge(given)
            fake_features, fake_logits = judge(self.scaling.data(fake))
        return (Seen(real, fake, labels, real_features, fake_features, real_logits, fake_logits).cpu(),)

    def metrics(self) -> dict[str, Metric]:
        if not self.of_pictures:
            modes = Modes(self.data.centres, self.data.sigma) if isinstance(self.data, KnownModes) else None
            return {"energy_distance": EnergyDistance()} | ({} if modes is None else {"modes": modes})
        memorised = Memorised(self._training_pictures)
        metrics: dict[str, Metric] = {"fid": FID(), "kid": KID(), "prdc": Neighbours(), "memorised": memorised}
        if self.names and not isinstance(self.judge, judges.Pixels):
            metrics["judge_accuracy"] = JudgeAccuracy()
        if self.conditional:
            alone = judges.GeneratedAlone(len(self.names), self.judge_epochs)
            metrics |= {"read_as_asked": ReadAsAsked(), "spread": Spread(len(self.names)), "generated_alone": alone}
        return metrics

    def floors(self, split: str) -> Mapping[str, Mapping[str, float]]:
        """Each value drawn by itself, as training samples have it at that place: right tones, no shapes."""
        measured = self._in_place(split, each_alone=True)
        return {"each value drawn by itself": measured} if measured else {}

    def best(self, split: str) -> dict[str, float]:
        """The measures of training samples in the place of generated ones, of their classes: hardly any are better."""
        return self._in_place(split, each_alone=False)

    def _in_place(self, split: str, *, each_alone: bool) -> dict[str, float]:
        """The measures of 2,000 training samples, drawn at random, or of their values, in the place of generated ones.

        None where there is no training part or no such split.
        """
        train = super().part("train", plain=True)
        if train is None or not len(train) or self.data.split(split) is None:
            return {}
        some = train.fetch(_some(train), 0, 0)
        labels = some.targets if self.conditional and not each_alone else None
        shown = Shown(self._scaled(some.inputs[0]).float(), labels, each_alone=each_alone)
        of_samples = copy(self)
        of_samples.metrics = partial(Generative.metrics, self)  # type: ignore[method-assign]  # none of the training
        return of_model(of_samples, split, shown, size=_LOOKED_AT)

    # ---------------------------------------------------------------------------------------------- making and showing

    def after_step(self, model: nn.Module, phase: str, progress: float) -> None:
        """Keeps a frame of the film at each so-many-th part of the run; it draws nothing and changes nothing."""
        if not self.film or not self.of_pictures or phase == "critic":
            return
        if self._frames is None:
            self._frames = WeakKeyDictionary()
        frames = self._frames.setdefault(model, {})
        number = int(progress * self.film)
        if number and number not in frames:
            asked = torch.arange(_ROWS * _FILMED) // _FILMED % max(1, len(self.names)) if self.conditional else None
            made = self._made(model, _ROWS * _FILMED, asked, next(model.parameters()).device)
            frames[number] = made.clamp(-1, 1).mul(127).to(torch.int8)

    @property
    def line(self) -> str:
        return "label" if self.conditional else "seed"

    def parse(self, line: str) -> tuple[Tensor, ...]:
        """`CLASS`, or `CLASS:SEED` for others of it; without classes `SEED`. The latent is a function of the seed."""
        text = line.strip()
        name, number = (text, "0") if self.conditional else ("", text)
        if self.conditional and text not in self.names and ":" in text:
            name, _, number = text.rpartition(":")
        if self.conditional and name not in self.names:
            raise LabwrightError(
                f"given {line!r}; this run makes samples of {listed(self.names)}{nearest(name, self.names)}"
            )
        if not number.isdecimal() or len(number) > _DIGITS:
            example = f"{self.names[0]}:7" if self.conditional else "7"
            raise LabwrightError(
                f"given {line[:60]!r}; a seed is a whole number of {_DIGITS} digits at most, such as {example}."
            )
        latents = torch.randn(1, *self.latent_shape, generator=generator(_SEED, int(number)))
        return (latents, torch.tensor([self.names.index(name)])) if self.conditional else (latents,)

    def predict(self, model: nn.Module, inputs: tuple[Tensor, ...], origins: Sequence[Any]) -> list[dict[str, Any]]:  # noqa: ARG002
        """For each row a picture as a PNG file, or the numbers of a point."""
        if tuple(inputs[0].shape[1:]) != self.latent_shape:
            raise LabwrightError(f"this run makes samples; it reads no files but takes --{self.line} TEXT.")
        made = self._samples(model, *inputs).float()
        if self.of_pictures:
            return [{"picture": Attachment(png(picture), ".png")} for picture in made]
        return [{"point": point} for point in made.tolist()]

    def report(self, model: nn.Module, split: str, device: torch.device) -> Sequence[Section]:
        """Generated samples beside real ones: a sheet of pictures, in rows by class if asked for; or points."""
        from labwright_gan import report

        part = self.data.split(split)
        if part is None or not len(part):
            return ()
        looked_at = part.fetch(_some(part), 0, 0)
        real = looked_at.inputs[0]
        if self.scaling is not None:
            made_rows, real_rows, classes = self._rows(model, self.scaling.unit(real), looked_at.targets, device)
            about = "" if self.judge is None else self.judge.about
            sections: list[Section] = [report.pictures(made_rows, real_rows, classes, about, self.best(split))]
            sections += [report.between(self._between(model, device))]
            frames = {} if self._frames is None else self._frames.get(model, {})
            film = {number / self.film: frames[number].float() / 127 for number in sorted(frames)}
            return [*sections, report.film(film, _FILMED)] if len(film) > 1 else sections
        if real.shape[1:] != (2,):  # points of more dimensions aren't drawn
            return ()
        made = self._made(model, len(real), looked_at.targets if self.conditional else None, device)
        return [report.points(made, real, self.data if isinstance(self.data, KnownModes) else None)]

    def _rows(
        self, model: nn.Module, real: Tensor, labels: Tensor, device: torch.device
    ) -> tuple[list[Tensor], list[Tensor], tuple[str, ...]]:
        """Generated pictures and real ones in rows, and what the rows are called: the classes if they are asked for."""
        classes = self.names[:_ROWS] if self.conditional else ()
        if classes:
            rows = [real[labels == label][:_COLUMNS] for label in range(len(classes))]
        else:
            rows = list(torch.split(real[: _ROWS * _COLUMNS], _COLUMNS))
        asked = torch.arange(len(rows)).repeat_interleave(_COLUMNS) if classes else None
        made = self._made(model, len(rows) * _COLUMNS, asked, device)
        return list(torch.split(made, _COLUMNS)), rows, classes

    def _between(self, model: nn.Module, device: torch.device) -> list[Tensor]:
        """Rows of samples on the way from one latent to another, each of one class if they are asked for."""
        ends = torch.randn(2, _WAYS, *self.latent_shape, generator=generator(_REPORT_SEED, 1)).flatten(2)
        rows = [spherical(ends[0], ends[1], share) for share in torch.linspace(0, 1, _COLUMNS).tolist()]
        latents = torch.stack(rows, dim=1).view(_WAYS * _COLUMNS, *self.latent_shape).to(device)
        asked = (torch.arange(_WAYS) % max(1, len(self.names))).repeat_interleave(_COLUMNS).to(device)
        with evaluating(model):
            made = self._samples(model, latents, asked).float().cpu()
        return list(torch.split(made, _COLUMNS))

    def _made(self, model: nn.Module, count: int, labels: Tensor | None, device: torch.device) -> Tensor:
        """Generated samples on the CPU, the same at each call."""
        latents = torch.randn(count, *self.latent_shape, generator=generator(_REPORT_SEED)).to(device)
        with evaluating(model):
            made = self._samples(model, latents, None if labels is None else labels.to(device))
        return made.float().cpu()

    def _samples(self, model: nn.Module, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        asked = labels if self.conditional else None
        if isinstance(model, Shown):
            made: Tensor = model(latents, asked)
            return made
        return self.sampled(model, latents, asked)

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.scaling is None else self.scaling.unit(x)

    def _training_pictures(self) -> Iterator[Tensor]:
        """Those of the training part with values -1..1, some at a time; none where it isn't there."""
        train = self.data.split("train")
        if train is not None:
            for batch in _in_order(train):
                yield self._scaled(batch.inputs[0])


def spherical(first_ND: Tensor, second_ND: Tensor, share: float) -> Tensor:
    """Latents on the way from the first to the second, along the sphere on which normal ones lie (White 2016).

    Straight where there is no one arc: between latents on one line, as all of one number are.
    """
    angles = torch.arccos(torch.cosine_similarity(first_ND, second_ND, dim=1).clamp(-1, 1))[:, None]
    straight, sines = angles.sin() < _ON_ONE_LINE, angles.sin().clamp(min=_ON_ONE_LINE)
    of_first = torch.where(straight, 1 - share, ((1 - share) * angles).sin() / sines)
    of_second = torch.where(straight, share, (share * angles).sin() / sines)
    return of_first * first_ND + of_second * second_ND


def _some(part: Split) -> Tensor:
    """The numbers of the samples of a part that are looked at: all, or some at random; the same at each call."""
    return torch.randperm(len(part), generator=generator(_REPORT_SEED))[:_LOOKED_AT]


def classes_of(split: Split) -> list[int]:
    """The labels that samples of a split have, in their order."""
    labels = split.labels if isinstance(split, Labelled) else torch.cat([some.targets for some in _in_order(split)])
    return [label for label in sorted({*labels.tolist()}) if label >= 0]


def digest(split: Split) -> str:
    """SHA-256 of all samples of a split and their targets, as they are without augmentation."""
    whole = sha256()
    for batch in _in_order(split):
        for tensor in (batch.inputs[0], *_tensors(batch.targets)):
            whole.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            whole.update(tensor.detach().contiguous().numpy().tobytes())
    return whole.hexdigest()


def _tensors(targets: Any) -> Iterator[Tensor]:
    """Those of any targets: boxes and the targets of several heads are tables."""
    if isinstance(targets, Tensor):
        yield targets
    else:
        for part in targets.values() if isinstance(targets, Mapping) else targets:
            yield from _tensors(part)


def _in_order(split: Split) -> Iterator[Batch]:
    plain = split.plain() if isinstance(split, Augmented) else split
    yield from IndexedBatches.in_order(plain, _AT_ONCE)
