import pytest
import torch

from geodtr_plugin.layers import LayoutExtractorV2, MaskBottleneck


def test_the_bottleneck_equals_a_loop_over_descriptors():
    bottleneck = MaskBottleneck(positions=10, descriptors=3)
    torch.nn.init.normal_(bottleneck.w1)
    torch.nn.init.normal_(bottleneck.w2)
    masks = torch.randn(2, 10, 3)
    rows = [
        (masks[:, :, k] @ bottleneck.w1[k] + bottleneck.b1[:, k]) @ bottleneck.w2[k] + bottleneck.b2[:, k]
        for k in range(3)
    ]
    torch.testing.assert_close(bottleneck(masks), torch.stack(rows, dim=2))


@pytest.mark.parametrize("mask, low, high", [("sigmoid", 0, 1), ("hardtanh", -1, 1)])
def test_masks_stay_in_their_range(mask, low, high):
    extractor = LayoutExtractorV2(8, 12, 4, feedforward=16, mask=mask)
    torch.nn.init.normal_(extractor.pointwise.weight, std=50)
    masks = extractor(torch.randn(2, 8, 3, 4))
    assert masks.shape == (2, 12, 4)
    assert masks.min() >= low and masks.max() <= high


def test_masks_start_almost_flat_with_a_bottleneck():
    """The released initialisation: the embedding starts as K near-copies of the sum over positions."""
    masks = LayoutExtractorV2(8, 287, 8, feedforward=16).eval()(torch.randn(1, 8, 7, 41))
    assert torch.allclose(masks, torch.sigmoid(torch.tensor(0.1)), atol=0.05)


def test_an_unknown_mask_is_refused():
    with pytest.raises(ValueError, match="sigmoid, hardtanh"):
        LayoutExtractorV2(8, 12, mask="relu")
