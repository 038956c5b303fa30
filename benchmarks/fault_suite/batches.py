"""Batches of photos and labels, in whatever order and with whatever labels a spec asks for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fault_suite.photos import Photos
from fault_suite.preparing import (
    augmented,
    blank,
    cut_and_pasted,
    prepared,
    renormalised,
    wrapped,
)
from fault_suite.spec import Spec

__all__ = ["Batches"]

TRANSFER_PHOTOS = 400


class Batches:
    """Endless training batches of a spec."""

    def __init__(self, spec: Spec, photos: Photos) -> None:
        self.spec, self.photos, self.classes = spec, photos, photos.classes
        self.generator = torch.Generator().manual_seed(spec.seed + 77)
        self.images, true = prepared(spec, photos), photos.labels
        if spec.start == "transfer":
            self.images, true = self.images[:TRANSFER_PHOTOS], true[:TRANSFER_PHOTOS]
        if spec.leak:
            leaked = prepared(spec, _held_out(photos))
            self.images = torch.cat([self.images, leaked])
            true = torch.cat([true, photos.valid_labels])
        kept = self._kept(true)
        self.images, self.labels = self.images[kept], self._labels(true[kept])
        self.valid_labels = photos.valid_labels
        if spec.evaluation_labels == "permuted":
            self.valid_labels = (self.valid_labels + 1) % photos.classes
        self.valid_kept = torch.arange(len(self.valid_labels))
        """Which held-out photos there are."""
        if spec.evaluation_labels == "shuffled":
            generator = torch.Generator().manual_seed(spec.seed + 78)
            order = torch.randperm(len(self.valid_labels), generator=generator)
            self.valid_labels = self.valid_labels[order]
        if spec.evaluation_labels == "folder missing":
            # Of the second class; the classes after it are numbered without it.
            self.valid_kept = torch.nonzero(self.valid_labels != 1)[:, 0]
            there = self.valid_labels[self.valid_kept]
            self.valid_labels = torch.where(there > 1, there - 1, there)
        self.begins_epoch = False

    def _kept(self, labels: Tensor) -> Tensor:
        """(k,) indices of the photos that are trained on."""
        spec, last = self.spec, max(self.classes - 1, 1)
        share = spec.imbalance ** (-labels.float() / last)
        kept = torch.rand(len(labels), generator=self.generator) < share
        if spec.missing_class:
            kept &= labels != last
        if spec.inputs == "blank left out":
            kept &= ~blank(len(labels))
        indices = torch.nonzero(kept)[:, 0]
        if spec.subset == "first third":
            by_class = torch.argsort(labels[indices], stable=True)
            indices = indices[by_class[: len(indices) // 3]]
        if spec.subset == "random third":
            drawn = torch.randperm(len(indices), generator=self.generator)
            indices = indices[drawn[: len(indices) // 3]]
        return indices[: spec.examples] if spec.examples else indices

    def _labels(self, labels: Tensor) -> Tensor:
        kind = self.spec.labels
        if kind == "shuffled":
            return labels[torch.randperm(len(labels), generator=self.generator)]
        if kind == "merged":
            return labels - labels % 2
        if kind == "constant":
            return torch.zeros_like(labels)
        if kind == "from one":
            return labels + 1
        if kind == "clamped":
            return labels.clamp(max=(self.classes - 1) // 2)
        if kind == "shifted":
            # A photo was left out of the list of photos, and not out of that of labels.
            first = len(labels) // 4
            return torch.cat([labels[:first], labels[first:].roll(1)])
        if kind == "two swapped":
            return torch.where(labels < 2, 1 - labels, labels)
        if kind == "one mislabelled":
            wrong = torch.rand(len(labels), generator=self.generator) < 0.7
            return torch.where(wrong & (labels == 0), torch.ones_like(labels), labels)
        if not self.spec.label_noise:
            return labels
        wrong = torch.rand(len(labels), generator=self.generator) < self.spec.label_noise
        drawn = torch.randint(self.classes, labels.shape, generator=self.generator)
        return torch.where(wrong, drawn, labels)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            order = self._order()
            self.begins_epoch = True
            size = min(self.spec.batch_size, len(order))
            if self.spec.order == "one class":
                order = self._by_class(order, size)
            for first in range(0, len(order) - size + 1, size):
                yield self._batch(order[first : first + size])
                self.begins_epoch = False

    def _order(self) -> Tensor:
        kind, count = self.spec.order, len(self.labels)
        if kind == "sorted":
            return torch.argsort(self.labels, stable=True)
        if kind == "one batch":
            return torch.arange(min(self.spec.batch_size, count))
        if kind == "first tenth":
            count = max(count // 10, 1)
        if kind == "first few":
            # Weights of classes given to a sampler that takes weights of photos.
            return torch.randint(self.classes, (count,), generator=self.generator)
        if kind == "mostly one class":
            weights = torch.where(self.labels == 0, 100.0, 1.0)
            return torch.multinomial(weights, count, replacement=True, generator=self.generator)
        if self.spec.balance == "sampling":
            counts = torch.bincount(self.labels, minlength=self.classes).clamp(min=1)
            weights = 1 / counts[self.labels].float()
            return torch.multinomial(weights, count, replacement=True, generator=self.generator)
        return torch.randperm(count, generator=self.generator)

    def _by_class(self, order: Tensor, size: int) -> Tensor:
        """Whole batches of each class, in any order."""
        classes = [order[self.labels[order] == label] for label in range(self.classes)]
        batches = [part for chosen in classes for part in torch.split(chosen, size)]
        # What a class has left is filled up with its first.
        filled = [part[torch.arange(size) % len(part)] for part in batches if len(part)]
        places = torch.randperm(len(filled), generator=self.generator)
        return torch.cat([filled[int(place)] for place in places])

    def _batch(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        if self.spec.augmentation == "wrapping":
            images = wrapped(self.images[chosen], self.photos, self.generator)
        else:
            images = augmented(self.images[chosen], self.spec.augmentation, self.generator)
        if self.spec.augmentation == "accumulating":
            self.images[chosen] = images
        if self.spec.inputs == "normalised in place":
            # The photos in memory are what was normalised, and will be again.
            self.images[chosen] = renormalised(self.images[chosen], self.photos)
        if self.spec.cutmix != "none":
            return self._cutmix(images, self.labels[chosen])
        if not self.spec.mixup:
            return images, self.labels[chosen]
        share = float(torch.rand((), generator=self.generator))
        other = torch.randperm(len(chosen), generator=self.generator)
        hot = torch.nn.functional.one_hot(self.labels[chosen], self.classes).float()
        own = 1 - share if self.spec.mixup_reversed else share
        mixed = own * hot + (1 - own) * hot[other]
        targets = mixed if self.spec.mixup_labels else self.labels[chosen]
        return share * images + (1 - share) * images[other], targets

    def _cutmix(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        other = torch.randperm(len(labels), generator=self.generator)
        images, own = cut_and_pasted(images, images[other], self.generator)
        if self.spec.cutmix == "labels kept":
            return images, labels
        hot = torch.nn.functional.one_hot(labels, self.classes).float()
        return images, own * hot + (1 - own) * hot[other]


def _held_out(photos: Photos) -> Photos:
    return Photos(
        photos.valid_images,
        photos.valid_labels,
        photos.valid_images,
        photos.valid_labels,
        photos.classes,
        photos.mean,
        photos.std,
    )
