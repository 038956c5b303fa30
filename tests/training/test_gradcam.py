import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_classifier import PREPROCESSING, toy_classifier

from houndsight.data.decode import normalise
from houndsight.models.classifier import Classifier, Head
from houndsight.training.gradcam import grad_cam, overlay

QUARTERS = [(0, 0), (0, 8), (8, 0), (8, 8)]


class Bright(nn.Module):
    """A stage of one convolution that answers to bright pixels only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1)
        nn.init.constant_(self.conv.weight, 1.0)
        nn.init.constant_(self.conv.bias, -1.0)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x)).mean((2, 3))


class Tokens(nn.Module):
    """Attention of a class token to patch tokens: (n, 5, 3) -> (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.attention(x, x, x)[0])[:, 0]


class Patches(nn.Module):
    """Images (n, 3, 16, 16) -> tokens (n, 1 + 4, 3)."""

    def forward(self, images: Tensor) -> Tensor:
        patches = nn.functional.avg_pool2d(images, 8).flatten(2).transpose(1, 2)
        return torch.cat([patches.mean(1, keepdim=True), patches], 1)


class Fake(nn.Module):
    preprocessing = PREPROCESSING

    def __init__(self, trunk: nn.Module, stage: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.trunk, self.stage, self.feature_dim = trunk, stage, feature_dim

    def forward(self, images: Tensor) -> Tensor:
        return self.stage(self.trunk(images))


def _photo(corner: tuple[int, int]) -> np.ndarray:
    image = np.full((16, 16, 3), 60, np.uint8)
    image[corner[0] : corner[0] + 8, corner[1] : corner[1] + 8] = 255
    return image


def _bright_classifier() -> Classifier:
    pooled = Classifier(Fake(nn.AvgPool2d(4), Bright(), 2), Head(2, 2, normalise="none"))
    with torch.no_grad():
        pooled.head.linear.weight.copy_(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))
    return pooled


@pytest.mark.parametrize("corner", QUARTERS)
def test_heat_lies_where_the_evidence_is(corner: tuple[int, int]) -> None:
    heat = grad_cam(_bright_classifier(), _photo(corner), 0)
    assert heat.shape == (16, 16) and heat.dtype == np.float32 and heat.max() == 1
    inside = heat[corner[0] : corner[0] + 8, corner[1] : corner[1] + 8].sum()
    assert inside > 0.7 * heat.sum()


def test_nothing_speaks_for_the_other_class() -> None:
    assert (grad_cam(_bright_classifier(), _photo((0, 0)), 1) == 0).all()


def test_equals_the_papers_equations_on_the_last_maps() -> None:
    classifier, images = toy_classifier(), np.stack([_photo(c) for c in QUARTERS])
    inputs = torch.from_numpy(normalise(images, PREPROCESSING))
    with torch.no_grad():
        maps = classifier.backbone.stage.layer(classifier.backbone.trunk(inputs))
    maps.requires_grad_()
    logits = classifier.head(maps.mean((2, 3)))
    gradients = torch.autograd.grad(logits[:, 1].sum(), maps)[0]
    expected = torch.relu((gradients.mean((2, 3), keepdim=True) * maps).sum(1))
    expected = expected / expected.amax((1, 2), keepdim=True).clamp_min(1e-12)
    heat = grad_cam(classifier, images, [1] * 4)
    large = torch.nn.functional.interpolate(expected[:, None], (16, 16), mode="bilinear")[:, 0]
    large = (large / large.amax((1, 2), keepdim=True).clamp_min(1e-12)).detach().numpy()
    np.testing.assert_allclose(heat, large, atol=1e-4)


def test_several_images_equal_one_at_a_time_and_default_to_the_prediction() -> None:
    classifier, images = toy_classifier(), np.stack([_photo(c) for c in QUARTERS])
    together = grad_cam(classifier, images)
    for image, heat in zip(images, together, strict=True):
        np.testing.assert_allclose(grad_cam(classifier, image), heat, atol=1e-5)


def test_tokens_give_a_map_of_their_patches() -> None:
    torch.manual_seed(0)
    classifier = Classifier(Fake(Patches(), Tokens(), 3), Head(3, 2, normalise="none"))
    nn.init.normal_(classifier.head.linear.weight)
    heats = [grad_cam(classifier, _photo((0, 0)), target) for target in (0, 1)]
    assert all(heat.shape == (16, 16) for heat in heats)
    assert any(heat.max() == 1 for heat in heats)


def test_the_classifier_is_left_as_it_was() -> None:
    classifier = toy_classifier().train()
    modes = [module.training for module in classifier.modules()]
    grad_cam(classifier, _photo((0, 0)))
    assert modes == [module.training for module in classifier.modules()]
    assert all(p.grad is None and p.requires_grad for p in classifier.parameters())
    assert not any(module._forward_hooks for module in classifier.modules())


def test_overlay_leaves_cold_parts_and_colours_hot_ones() -> None:
    image = _photo((0, 0))
    heat = np.zeros((16, 16), np.float32)
    heat[:8] = 1.0
    mixed = overlay(image, heat)
    assert mixed.shape == image.shape and mixed.dtype == np.uint8
    assert (mixed[8:] == image[8:]).all() and (mixed[:8] != image[:8]).any()
