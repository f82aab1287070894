"""PyTorch Ignite: the supervised trainer with no handler attached."""

from ignite.engine import create_supervised_trainer
from torch import nn
from torch.utils.data import DataLoader

from loops.work import Job, build_model, build_optimizer, loss_of


def fit(job: Job) -> nn.Module:
    model = build_model(job.work)
    loader = DataLoader(job.data, batch_size=job.work.batch_size, shuffle=True)
    trainer = create_supervised_trainer(model, build_optimizer(job.work, model), loss_of)
    trainer.run(loader, max_epochs=job.epochs)
    return model
