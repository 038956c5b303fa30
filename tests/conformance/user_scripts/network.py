"""The training that most cases share, short enough to be read as part of each."""

from __future__ import annotations

from textwrap import dedent

TRAINING = dedent(
    """
    import argparse, json, logging, os, sys
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torch.optim as optim

    logger = logging.getLogger(__name__)
    logger.setLevel(logging.DEBUG)
    logger.addHandler(logging.StreamHandler(sys.stdout))


    def net(classes=3):
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, classes)
        )


    def batches(count=4, size=4):
        torch.manual_seed(0)
        return [(torch.randn(size, 3, 8, 8), torch.randint(0, 3, (size,))) for _ in range(count)]


    def train(model, loader, criterion, optimizer, hook=None):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
        return loss.item()
    """
)
"""What every `train.py` begins with; `{...}` is not used, so that it can be joined as it is."""
