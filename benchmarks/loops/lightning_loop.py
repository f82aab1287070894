"""Lightning, with everything switched off, and as it comes."""

import logging
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from loops.work import Job, build_model, build_optimizer, loss_of


class Lean(lightning.LightningModule):
    """The model and its loss."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.model = build_model(job.work)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        inputs, targets = batch
        return loss_of(self.model(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return build_optimizer(self.job.work, self.model)


class Logged(Lean):
    """The same with the training loss logged, as nearly every user does."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        loss = super().training_step(batch, batch_index)
        self.log("loss", loss)
        return loss


def fit(job: Job) -> nn.Module:
    """As it comes: progress bar, CSV logger, a checkpoint each epoch.

    Where rich is installed Lightning draws its progress bar with it; the tqdm bar named here is what one gets from
    installing Lightning alone.
    """
    return _train(Logged(job), callbacks=[TQDMProgressBar()])


def fit_lean(job: Job) -> nn.Module:
    """No logger, no checkpoints, no progress bar, no summary."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return _train(Lean(job), **dict.fromkeys(off, False))


def _train(module: Lean, **settings: object) -> nn.Module:
    warnings.filterwarnings("ignore")  # advice on worker processes
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    job = module.job
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, max_epochs=job.epochs, default_root_dir=job.folder, **settings
    )
    trainer.fit(module, DataLoader(job.data, batch_size=job.work.batch_size, shuffle=True))
    return module.model
