"""The loops one would write without any framework: the reference, and the floor below it."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from loops.work import Job, build_model, build_optimizer, loss_of


def fit(job: Job) -> nn.Module:
    """Over a DataLoader; this is what every ratio is taken to."""
    model = build_model(job.work)
    optimizer = build_optimizer(job.work, model)
    loader = DataLoader(job.data, batch_size=job.work.batch_size, shuffle=True)
    for _ in range(job.epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), targets)
            loss.backward()
            optimizer.step()
    return model


def fit_tensors(job: Job) -> nn.Module:
    """Over tensors indexed by whole batches; nothing written in Python on torch does less."""
    model = build_model(job.work)
    optimizer = build_optimizer(job.work, model)
    inputs, targets = job.tensors
    for _ in range(job.epochs):
        for rows in torch.randperm(len(inputs)).split(job.work.batch_size):
            optimizer.zero_grad()
            loss = loss_of(model(inputs[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    return model
