"""Hugging Face Trainer as it comes, with the work's optimizer: constant rate, no clipping, nothing reported outside."""

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from loops.work import Job, build_model, loss_of


class Rows(Dataset):
    """Rows as the dictionaries that the Trainer collates."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        inputs, targets = self.data[index]
        return {"inputs": inputs, "labels": targets}


class WithLoss(nn.Module):
    """A model that returns its loss, as the Trainer wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.model(inputs)
        return {"loss": loss_of(logits, labels), "logits": logits}


def fit(job: Job) -> nn.Module:
    model = WithLoss(build_model(job.work))
    settings = TrainingArguments(
        output_dir=str(job.folder),
        num_train_epochs=job.epochs,
        per_device_train_batch_size=job.work.batch_size,
        learning_rate=job.work.lr,
        optim={"sgd": "sgd", "adamw": "adamw_torch"}[job.work.optimizer],
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        report_to="none",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    torch.manual_seed(0)
    Trainer(model=model, args=settings, train_dataset=Rows(job.data)).train()
    return model.model
