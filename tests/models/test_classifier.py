"""The head's normalisations, and that all ways into a classifier agree."""

from __future__ import annotations

import pytest
import torch

from houndsight.models.backbone import Backbone
from houndsight.models.classifier import Classifier, Head, Normalisation


@pytest.mark.parametrize("normalise", ["none", "l2", "standardise"])
def test_images_activations_and_features_give_the_same_logits(
    small_backbone: Backbone, normalise: Normalisation
) -> None:
    head = Head(512, 5, normalise=normalise)
    torch.nn.init.normal_(head.linear.weight)
    head.center.normal_()
    head.scale.uniform_(0.5, 2)
    classifier = Classifier(small_backbone, head).eval()
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        logits = classifier(images)
        activations = small_backbone.trunk(images)
        torch.testing.assert_close(classifier.from_activations(activations), logits)
        torch.testing.assert_close(classifier.from_features(small_backbone(images)), logits)
    assert logits.shape == (3, 5)


def test_prepare_brings_features_to_a_common_scale() -> None:
    features = torch.randn(50, 8) * 3 + 5
    assert torch.equal(Head(8, 2, normalise="none").prepare(features), features)
    lengths = Head(8, 2, normalise="l2").prepare(features).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(50))
    head = Head(8, 2, normalise="standardise")
    head.center.copy_(features.mean(0))
    head.scale.copy_(features.std(0))
    prepared = head.prepare(features)
    torch.testing.assert_close(prepared.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared.std(0), torch.ones(8))


def test_a_new_head_prefers_no_class() -> None:
    assert torch.equal(Head(8, 3)(torch.randn(4, 8)), torch.zeros(4, 3))
