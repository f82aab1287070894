"""Hugging Face Accelerate: the hand-written loop with its objects prepared."""

from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from loops.work import Job, build_model, build_optimizer, loss_of


def fit(job: Job) -> nn.Module:
    accelerator = Accelerator(cpu=True)
    model = build_model(job.work)
    loader = DataLoader(job.data, batch_size=job.work.batch_size, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, build_optimizer(job.work, model), loader)
    for _ in range(job.epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), targets)
            accelerator.backward(loss)
            optimizer.step()
    return accelerator.unwrap_model(model)
