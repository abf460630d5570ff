import pytest
import torch

from geodtr_plugin import create_model
from geodtr_plugin.methods import method_class
from geodtr_plugin.methods.geodtr_plus import modulate, square_for
from geodtr_plugin.utils.errors import UserError

VIGOR = dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
TINY = dict(query_size=(32, 88), backbone="tiny", feedforward=64, pretrained=False)


@pytest.mark.parametrize(
    "options, parameters, embedding_size",
    [
        (dict(), 30_192_336, 3072),  # 122x671 and polar 122x671
        (dict(polar=False), 30_047_696, 3072),  # 122x671 and 256x256
        (VIGOR, 35_526_928, 3072),
        (dict(backbone="resnet34"), 51_050_000, 4096),
        (dict(descriptors=2), None, 768),
        (dict(descriptors=4), None, 1536),
        (dict(descriptors=6), None, 2304),
    ],
)
def test_sizes_equal_the_authors(options, parameters, embedding_size):
    model = create_model("geodtr_plus", pretrained=False, **options)
    assert model.embedding_size == embedding_size
    if parameters:
        assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    model = create_model("geodtr_plus", polar=polar, **TINY)
    query, reference = torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size)
    outputs = model(query, reference, counterfactual=True)
    for embedding in outputs:
        assert embedding.shape == (3, model.embedding_size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    sum(embedding[:, 0].sum() for embedding in outputs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_one_view_alone_gives_what_both_give():
    model = create_model("geodtr_plus", **TINY).eval()
    query, reference = torch.rand(2, 3, 32, 88), torch.rand(2, 3, 32, 88)
    both = model(query, reference)
    assert torch.equal(model.encode_query(query), both.query)
    assert torch.equal(model.encode_reference(reference), both.reference)
    assert model(query=query).reference is None and both.query_cf is None


def test_the_counterfactual_is_redrawn_and_leaves_the_layout_extractor_alone():
    model = create_model("geodtr_plus", **TINY).eval()
    query = torch.rand(2, 3, 32, 88)
    first, second = (model(query=query, counterfactual=True) for _ in range(2))
    assert torch.equal(first.query, second.query)
    assert not torch.equal(first.query_cf, second.query_cf)
    first.query_cf[:, 0].sum().backward()
    assert all(p.grad is None for p in model.query_tower.layout.parameters())
    assert all(p.grad is not None for p in model.query_tower.trunk.parameters())


def test_modulation_equals_a_loop_over_channels_and_descriptors():
    features, masks = torch.randn(2, 3, 2, 5), torch.rand(2, 10, 4)
    flat = features.flatten(2)
    expected = torch.stack([(flat[:, c] * masks[:, :, k]).sum(1) for c in range(3) for k in range(4)], dim=1)
    torch.testing.assert_close(modulate(features, masks), expected / expected.norm(dim=1, keepdim=True))


def test_bfloat16_autocast_keeps_embeddings_in_fp32_and_near():
    model = create_model("geodtr_plus", **TINY).eval()
    query = torch.rand(2, 3, 32, 88)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.encode_query(query)
    assert low.dtype == torch.float32
    assert (low * model.encode_query(query)).sum(1).min() > 0.99


def test_aerial_sizes_that_go_with_a_panorama():
    assert square_for((122, 671)) == (256, 256)
    assert square_for((32, 88)) == (48, 48)
    assert create_model("geodtr_plus", pretrained=False, polar=False).reference_size == (256, 256)


@pytest.mark.parametrize("name", method_class("geodtr_plus").recipes)
def test_every_recipe_builds(name):
    recipe = method_class("geodtr_plus").recipes[name]
    assert create_model("geodtr_plus", **{**recipe.model, "pretrained": False}).embedding_size > 0


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'geodtr_plus'"):
        create_model("geodtr+")
    with pytest.raises(UserError, match="Did you mean 'descriptors'"):
        create_model("geodtr_plus", descriptor=4)
    with pytest.raises(UserError, match="mask is 'relu'"):
        create_model("geodtr_plus", mask="relu", **TINY)
