"""fastai as it comes, without its validation after each epoch."""

from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import SGD
from torch import nn
from torch.utils.data import Subset

from loops.work import Job, build_model, loss_of


class NoValidation(Callback):
    """Skips the pass over the validation data."""

    def before_validate(self) -> None:
        raise CancelValidException


class Stepped(Callback):
    """Tells the job that a step has ended."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def after_step(self) -> None:
        self.job.stepped()


def fit(job: Job) -> nn.Module:
    few = Subset(job.data, range(job.work.batch_size))
    loaders = DataLoaders.from_dsets(
        job.data, few, bs=job.work.batch_size, num_workers=0, drop_last=False, device="cpu"
    )
    callbacks = [NoValidation()] + ([Stepped(job)] if job.stepped else [])
    learner = Learner(
        loaders, build_model(job.work), loss_func=loss_of, opt_func=SGD, lr=job.work.lr, cbs=callbacks, path=job.folder
    )
    learner.fit(job.epochs)
    return learner.model
