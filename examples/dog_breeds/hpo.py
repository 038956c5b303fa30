"""One trial of the search: trains the head and prints how well it does on the validation photos.

The backbone is frozen, so each photo goes through it once; the head then sees the features of all
photos in every epoch. The tuning job reads the validation loss from the log.
"""

from __future__ import annotations

import torch
from network import arguments, evaluate, photos, pretrained, save
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@torch.no_grad()
def features(backbone: nn.Module, batches: DataLoader) -> TensorDataset:
    """What the frozen backbone makes of the photos, and their labels."""
    backbone.eval()
    computed = [(backbone(images), labels) for images, labels in batches]
    inputs, labels = [f for f, _ in computed], [of for _, of in computed]
    return TensorDataset(torch.cat(inputs), torch.cat(labels))


def main() -> None:
    """Train one trial."""
    args = arguments()
    train, valid = photos(args.train, 32), photos(args.valid, 32)
    classes = train.dataset.classes
    model = pretrained(len(classes))
    head, model.fc = model.fc, nn.Identity()
    known, unseen = features(model, train), features(model, valid)

    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(head.parameters(), lr=args.learning_rate)
    for epoch in range(1, args.epochs + 1):
        head.train()
        for inputs, labels in DataLoader(known, batch_size=args.batch_size, shuffle=True):
            optimizer.zero_grad()
            criterion(head(inputs), labels).backward()
            optimizer.step()
        loss, accuracy = evaluate(head, DataLoader(unseen, batch_size=256), criterion)
        print(f"Epoch {epoch}: Validation Loss: {loss:.4f}, Validation Accuracy: {accuracy:.4f}")

    model.fc = head
    save(model, classes, args.model_dir)


if __name__ == "__main__":
    main()
