"""Keras on its torch backend, as it comes: `compile` and `fit` over the arrays in memory.

KERAS_BACKEND=torch must be set before this file is imported.
"""

from collections.abc import Callable

import keras
from torch import Tensor

from loops.work import Job


def fit(job: Job) -> Callable[[Tensor], Tensor]:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((64,)), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10)]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(job.work.lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    inputs, targets = (tensor.numpy() for tensor in job.tensors)
    callbacks = []
    if job.stepped:
        callbacks.append(keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: job.stepped()))
    model.fit(inputs, targets, batch_size=job.work.batch_size, epochs=job.epochs, shuffle=True, callbacks=callbacks)
    return model
