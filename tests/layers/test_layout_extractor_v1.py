import pytest
import torch
from torch import nn

from geodtr_plugin.layers import LayoutExtractorV1


def test_masks_equal_loops_over_descriptors():
    """All but the Transformer, which is torch's and gives way to a normalisation here."""
    extractor = LayoutExtractorV1(6, 16, 3, heads=2).eval()
    norm = extractor.encoder = nn.LayerNorm(8)
    for parameter in extractor.parameters():
        nn.init.normal_(parameter, std=0.5)
    features = torch.randn(2, 6, 4, 4)
    saliency, strongest = features.flatten(2).max(1).values, features.flatten(2).argmax(1) / 6
    for k in range(3):
        index = (strongest @ extractor.index.weight[:, k] + extractor.index.bias[0, k]).clamp(-1, 1)
        token = saliency @ extractor.w1[:, k] + extractor.b1[0, k] + index
        token = nn.functional.layer_norm(token, (8,), norm.weight, norm.bias)
        mask = (token @ extractor.w2[:, k] + extractor.b2[0, k]).clamp(-1, 1)
        torch.testing.assert_close(extractor(features)[:, :, k], mask)


def test_only_the_strongest_channel_of_a_position_counts():
    extractor = LayoutExtractorV1(6, 16, 3, heads=2, feedforward=16).eval()
    for parameter in extractor.parameters():
        nn.init.normal_(parameter, std=0.3)
    features = torch.rand(1, 6, 4, 4)
    features[:, 2] += 1
    weaker = features.clone()
    weaker[:, [0, 1, 3, 4, 5]] *= torch.rand(1, 5, 4, 4)
    assert torch.equal(extractor(features), extractor(weaker))
    elsewhere = features[:, [2, 1, 0, 3, 4, 5]]  # as strong, in another channel
    assert not torch.allclose(extractor(features), extractor(elsewhere))


@pytest.mark.parametrize("mask, low, high", [("hardtanh", -1, 1), ("sigmoid", 0, 1)])
def test_masks_stay_in_their_range(mask, low, high):
    extractor = LayoutExtractorV1(8, 12, 4, heads=2, feedforward=16, mask=mask)
    nn.init.normal_(extractor.w2, std=50)
    masks = extractor(torch.randn(2, 8, 3, 4))
    assert masks.shape == (2, 12, 4)
    assert low <= masks.min() < low + 0.1 and high - 0.1 < masks.max() <= high


def test_masks_start_almost_flat():
    """The released initialisation: the embedding starts as K near-copies of the sum over positions."""
    masks = LayoutExtractorV1(8, 336, 8, feedforward=16).eval()(torch.rand(1, 8, 8, 42))
    torch.testing.assert_close(masks, torch.full_like(masks, 0.1), atol=0.3, rtol=0)
    assert abs(masks.mean() - 0.1) < 0.02


WIDTHS = [(336, 4, 168), (256, 8, 128), (287, 4, 140), (45, 4, 20), (8, 4, 4)]


@pytest.mark.parametrize("positions, heads, width", WIDTHS)
def test_tokens_are_half_as_wide_as_the_map_or_less(positions, heads, width):
    extractor = LayoutExtractorV1(8, positions, 2, heads=heads, feedforward=16)
    assert extractor.w1.shape == (positions, 2, width) and extractor.index.weight.shape == (positions, 2, width)
    assert extractor(torch.randn(1, 8, 1, positions)).shape == (1, positions, 2)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="7 positions is too small for 4 heads, which need 8"):
        LayoutExtractorV1(8, 7)
    with pytest.raises(ValueError, match="sigmoid, hardtanh"):
        LayoutExtractorV1(8, 12, mask="relu")
