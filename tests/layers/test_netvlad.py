"""NetVLAD against a loop over clusters and locations, its two initialisations, and its memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geodtr_plugin.layers import NetVLAD, sample_locations
from geodtr_plugin.utils.errors import UserError


def blobs(clusters=8, channels=12, each=200, spread=0.05):
    """Unit descriptors around `clusters` directions, and these."""
    directions = F.normalize(torch.randn(clusters, channels), dim=1)
    rows = directions.repeat_interleave(each, dim=0)
    return F.normalize(rows + spread * torch.randn_like(rows), dim=1), directions


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_equals_a_loop_over_residuals(bias, weighted):
    layer = NetVLAD(5, clusters=3, bias=bias)
    features, weights = 7 * torch.randn(2, 5, 2, 4), torch.rand(2, 1, 2, 4)
    expected = torch.zeros(2, 3, 5)
    for image, flat in enumerate(features.flatten(2)):
        for i, x in enumerate((flat / flat.norm(dim=0)).T):
            scores = layer.assign.weight[:, :, 0, 0] @ x + (layer.assign.bias if bias else 0)
            share = scores.softmax(0) * (weights[image].flatten()[i] if weighted else 1)
            for k in range(3):
                expected[image, k] += share[k] * (x - layer.centroids[k])
    expected = F.normalize(F.normalize(expected, dim=2).flatten(1), dim=1)
    torch.testing.assert_close(layer(features, weights if weighted else None), expected, rtol=0, atol=1e-6)


def test_every_cluster_weighs_the_same():
    out = NetVLAD(6, clusters=4)(torch.randn(3, 6, 5, 5))
    assert out.shape == (3, 24)
    torch.testing.assert_close(out.unflatten(1, (4, 6)).norm(dim=2), torch.full((3, 4), 0.5))


def test_kmeans_finds_the_clusters_and_makes_the_best_share_a_hundred_times_the_second():
    rows, directions = blobs()
    layer = NetVLAD(12, clusters=8)
    layer.init_kmeans(rows[torch.randperm(len(rows))] * 3.0)  # lengths do not matter
    centres = F.normalize(layer.centroids, dim=1)
    assert ((centres @ directions.T) > 0.99).sum(0).ge(1).float().mean() > 0.7  # k-means may join some
    shares = layer.assign(rows.T[None, :, :, None]).squeeze().softmax(0)  # [K, N]
    best, second = shares.topk(2, dim=0).values
    assert (best / second).log().mean().item() == pytest.approx(math.log(100), rel=1e-4)
    lengths = layer.assign.weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, lengths[:1].expand(8))
    torch.testing.assert_close(F.normalize(layer.assign.weight.flatten(1), dim=1), centres)


def test_kmeans_follows_the_seed_alone():
    rows, _ = blobs(spread=0.5)
    layers = [NetVLAD(12, clusters=8, bias=True) for _ in range(3)]
    for layer, seed in zip(layers, (1, 1, 2)):
        layer.init_kmeans(rows, seed)
    assert torch.equal(layers[0].centroids, layers[1].centroids)
    assert not torch.equal(layers[0].centroids, layers[2].centroids)
    assert layers[0].assign.bias.abs().sum() == 0


def test_too_few_descriptors_are_refused():
    with pytest.raises(UserError, match="7 descriptors cannot start 8 clusters"):
        NetVLAD(12, clusters=8).init_kmeans(torch.randn(7, 12))


def test_the_random_start_has_the_spread_of_unit_vectors():
    layer = NetVLAD(400, clusters=64, bias=True)
    for parameter in (layer.assign.weight, layer.centroids, layer.assign.bias):
        assert parameter.std().item() == pytest.approx(0.05, rel=0.3)


def test_locations_are_drawn_within_each_image():
    features = torch.arange(2 * 3 * 20.0).reshape(2, 3, 4, 5)
    drawn = sample_locations(features, number=6)
    assert drawn.shape == (12, 3)
    for image, rows in zip(features, drawn.split(6)):
        assert len(rows.unique(dim=0)) == 6
        assert all((image.flatten(1).T == row).all(dim=1).any() for row in rows)
    assert sample_locations(features, number=100).shape == (40, 3)


class LargestTensor(TorchDispatchMode):
    """The bytes of the largest tensor that an operation makes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.bytes = max(self.bytes, *sizes, 0)
        return out


def test_no_residual_is_stored():
    """The residuals of one 480 x 640 image at stride 8 would take 1.4 GB; nothing exceeds the descriptors' 22 MB."""
    layer = NetVLAD(1152, clusters=64)
    features = torch.empty(1, 1152, 60, 80, requires_grad=True)
    with LargestTensor() as largest:
        layer(features).sum().backward()
    assert 0 < largest.bytes <= features.untyped_storage().nbytes()


def test_bfloat16_autocast_keeps_it_in_fp32():
    layer, features = NetVLAD(6, clusters=4), torch.randn(2, 6, 5, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(features)
    assert torch.equal(out, layer(features.float())) and out.dtype == torch.float32
