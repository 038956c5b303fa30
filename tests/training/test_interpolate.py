"""The network between the beginning and the end of a fine-tuning."""

import torch
from toy_classifier import toy_classifier

from houndsight.training.interpolate import interpolated


def test_half_way_is_the_mean_of_all_weights_and_leaves_both_ends_alone() -> None:
    before, after = toy_classifier(), toy_classifier()
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.add_(1.0)
    middle = interpolated(before, after)
    for name, value in middle.named_parameters():
        begun, ended = before.get_parameter(name), after.get_parameter(name)
        torch.testing.assert_close(value, (begun + ended) / 2)
        assert not torch.equal(begun, ended)


def test_the_ends_are_the_two_networks() -> None:
    before, after = toy_classifier(), toy_classifier()
    with torch.no_grad():
        after.head.linear.weight.fill_(3.0)
    for share, end in ((0.0, before), (1.0, after)):
        for value, same in zip(
            interpolated(before, after, share).state_dict().values(),
            end.state_dict().values(),
            strict=True,
        ):
            torch.testing.assert_close(value, same)
