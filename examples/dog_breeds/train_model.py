"""Trains with the best hyperparameters while the debugger and the profiler watch."""

from __future__ import annotations

import smdebug.pytorch as smd
import torch
from network import arguments, evaluate, photos, pretrained, save, train_mode
from torch import nn


def main() -> None:
    """Train, test, save."""
    args = arguments()
    train = photos(args.train, args.batch_size, shuffle=True)
    valid, test = photos(args.valid, args.batch_size), photos(args.test, args.batch_size)
    model = pretrained(len(train.dataset.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.fc.parameters(), lr=args.learning_rate)

    hook = smd.get_hook(create_if_not_exists=True)
    if hook:
        hook.register_module(model)
        hook.register_loss(criterion)

    for epoch in range(1, args.epochs + 1):
        if hook:
            hook.set_mode(smd.modes.TRAIN)
        train_mode(model)
        for step, (images, labels) in enumerate(train):
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            if step % 10 == 0:
                print(f"Epoch {epoch}, step {step}: Training Loss: {loss.item():.4f}")
        if hook:
            hook.set_mode(smd.modes.EVAL)
        loss, accuracy = evaluate(model, valid, criterion)
        print(f"Epoch {epoch}: Validation Loss: {loss:.4f}, Validation Accuracy: {accuracy:.4f}")

    if hook:
        hook.set_mode(smd.modes.PREDICT)
    loss, accuracy = evaluate(model, test, criterion)
    print(f"Testing Loss: {loss:.4f}, Testing Accuracy: {accuracy:.4f}")
    save(model, train.dataset.classes, args.model_dir)


if __name__ == "__main__":
    main()
