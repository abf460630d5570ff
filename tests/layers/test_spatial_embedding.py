import pytest
import torch

from geodtr_plugin.layers import SpatialEmbedding, SpatialTower, build_trunk


def seeded(module: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that positions and heads differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize("pool", ["mean", "max"])
@pytest.mark.parametrize("squash", ["none", "tanh"])
def test_masks_equal_a_loop_over_images_and_heads(pool, squash):
    spatial = seeded(SpatialEmbedding(positions=15, heads=3, pool=pool, squash=squash))
    features = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(2))
    masks = spatial(features)
    assert masks.shape == (2, 15, 3) and spatial.w1.shape == (15, 7, 3)
    for b in range(2):
        rows = features[b].reshape(6, 15)
        response = rows.mean(0) if pool == "mean" else rows.max(0).values
        for k in range(3):
            hidden = response @ spatial.w1[:, :, k] + spatial.b1[0, :, k]
            expected = hidden @ spatial.w2[:, :, k] + spatial.b2[0, :, k]
            torch.testing.assert_close(masks[b, :, k], expected.tanh() if squash == "tanh" else expected)


@pytest.mark.parametrize("positions, parameters", [(80, 52_160), (64, 33_536), (287, 660_096), (256, 527_360)])
def test_parameter_counts(positions, parameters):
    assert sum(p.numel() for p in SpatialEmbedding(positions, 8).parameters()) == parameters


def test_masks_start_almost_flat():
    torch.manual_seed(0)
    spatial = SpatialEmbedding(80)
    assert spatial.w1.abs().max() <= 0.01 and 0.004 < spatial.w1.std() < 0.005  # cut off at two deviations of 0.005
    assert torch.allclose(spatial(torch.rand(1, 8, 4, 20)), torch.tensor(0.1), atol=0.05)


def test_bfloat16_autocast_leaves_the_masks_as_they_are():
    spatial, features = seeded(SpatialEmbedding(12)), torch.rand(1, 8, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        low = spatial(features)
    assert low.dtype == torch.float32 and torch.equal(low, spatial(features))


def test_a_tower_sums_features_under_masks():
    torch.manual_seed(0)
    tower = SpatialTower(build_trunk("tiny", pretrained=False), (16, 40), heads=2).eval()
    seeded(tower.spatial)
    images = torch.rand(2, 3, 16, 40)
    features = tower.trunk(images)
    expected = torch.einsum("bchw,bhwk->bck", features, tower.spatial(features).unflatten(1, (2, 5))).flatten(1)
    embedding = tower(images)
    assert tower.embedding_size == 192
    torch.testing.assert_close(embedding, expected / expected.norm(dim=1, keepdim=True))


def test_what_cannot_be_built_is_refused():
    with pytest.raises(ValueError, match="pool is 'sum'; it must be one of mean, max"):
        SpatialEmbedding(12, pool="sum")
    with pytest.raises(ValueError, match="squash is 'relu'; it must be one of none, tanh"):
        SpatialEmbedding(12, squash="relu")
    with pytest.raises(ValueError, match="at least 2 positions and 1 head, not 1 and 8"):
        SpatialTower(build_trunk("tiny", pretrained=False), (8, 8))
