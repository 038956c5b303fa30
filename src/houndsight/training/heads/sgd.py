"""A linear head by minibatch gradient descent with momentum: the original project's way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["fit_sgd"]


def fit_sgd(
    rows: Tensor,
    labels: Tensor,
    classes: int,
    *,
    learning_rate: float,
    batch_size: int,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    epochs: int = 5,
    momentum: float = 0.9,
    offsets: Tensor | None = None,
    row_weights: Tensor | None = None,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Weights `(classes, k)` and bias `(classes,)` after `epochs` passes over `rows` `(n, k)`.

    With `row_weights` `(n,)` each epoch draws its rows by them, with replacement; `offsets`
    `(classes,)` are added to the logits in the loss.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = nn.Parameter(torch.zeros(classes, rows.shape[1]))
    bias = nn.Parameter(torch.zeros(classes))
    groups: list[dict[str, Any]] = [
        {"params": [weight], "weight_decay": weight_decay},
        {"params": [bias]},
    ]
    optimizer = torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    offsets = rows.new_zeros(classes) if offsets is None else offsets
    for _ in range(epochs):
        if row_weights is None:
            order = torch.randperm(len(rows), generator=generator)
        else:
            order = torch.multinomial(row_weights, len(rows), True, generator=generator)
        for batch in torch.split(order, batch_size):
            logits = rows[batch] @ weight.T + bias + offsets
            loss = nn.functional.cross_entropy(
                logits, labels[batch], label_smoothing=label_smoothing
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return weight.detach(), bias.detach()
