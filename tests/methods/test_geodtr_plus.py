import pytest
import torch

from geodtr_plugin import create_model
from geodtr_plugin.layers import LayoutExtractorV1, modulate, square_for
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.utils.errors import UserError

VIGOR = dict(query_size=(320, 640), reference_size=(320, 320), polar=False)
TINY = dict(query_size=(32, 88), backbone="tiny", feedforward=64, pretrained=False)


@pytest.mark.slow
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


def test_the_tiny_trunk_makes_a_small_network_of_small_images_alone():
    """The numbers that `layers.build_trunk` and the guide of training warn with."""
    with torch.device("meta"):
        large, small, usual = (
            create_model("geodtr_plus", pretrained=False, **options)
            for options in (dict(backbone="tiny"), dict(backbone="tiny", query_size=(32, 88)), {})
        )
    assert large.query_tower.layout.position.shape[1] == 1344 and usual.query_tower.layout.position.shape[1] == 287
    assert count_parameters(large) == 30_086_112
    masks = count_parameters(large.query_tower.layout.bottleneck, large.reference_tower.layout.bottleneck)
    assert round(masks / 1e6) == 29
    assert count_parameters(small) < 1e6


@pytest.mark.parametrize("backbone, parameters", [("resnet34", 48_508_608), ("convnext_tiny", 29_254_864)])
def test_the_rows_of_table_iv_with_the_first_extractor(backbone, parameters):
    """With its own trunk GeoDTR's extractor makes GeoDTR's network, with its width, and masks from -1 to 1."""
    with torch.device("meta"):
        model = create_model("geodtr_plus", extractor="v1", backbone=backbone, pretrained=False)
        second = create_model("geodtr_plus", backbone=backbone, pretrained=False)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert isinstance(model.query_tower.layout, LayoutExtractorV1)
    assert model.embedding_size == second.embedding_size
    assert (model.query_tower.layout.mask, second.query_tower.layout.mask) == ("hardtanh", "sigmoid")


def test_options_reach_either_extractor():
    for extractor in ("v1", "v2"):
        model = create_model("geodtr_plus", extractor=extractor, mask="sigmoid", heads=2, layers=3, **TINY)
        layout = model.reference_tower.layout
        assert layout.mask == "sigmoid" and len(layout.encoder.layers) == 3
        assert layout.encoder.layers[0].self_attn.num_heads == 2
        assert layout.encoder.layers[0].linear1.out_features == 64
    assert create_model("geodtr_plus", bottleneck=False, **TINY).query_tower.layout.bottleneck(7) == 7


def test_the_first_extractor_has_names_of_the_authors_too():
    model = create_model("geodtr_plus", extractor="v1", **TINY)
    theirs = {model.author_key(key) for key in model.state_dict() if "layout" in key}
    assert {"GLE_grd.w1", "GLE_sat.b2", "GLE_grd.tr_module.pos_encoder.linear"} < theirs
    assert "GLE_sat.tr_module.transformer_encoder.norm.bias" in theirs


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    model = create_model("geodtr_plus", polar=polar, **TINY)
    query, reference = torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size)
    outputs = model(query, reference, counterfactual=True)
    for embedding in outputs[:4]:
        assert embedding.shape == (3, model.embedding_size)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    sum(embedding[:, 0].sum() for embedding in outputs[:4]).backward()
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


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS["geodtr_plus"].recipes)
def test_every_recipe_builds(name):
    recipe = METHODS["geodtr_plus"].recipes[name]
    assert create_model("geodtr_plus", **{**recipe.model, "pretrained": False}).embedding_size > 0


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'geodtr_plus'"):
        create_model("geodtr-plus")
    with pytest.raises(UserError, match="Did you mean 'descriptors'"):
        create_model("geodtr_plus", descriptor=4)
    with pytest.raises(UserError, match="mask is 'relu'"):
        create_model("geodtr_plus", mask="relu", **TINY)
    with pytest.raises(UserError, match="extractor is 'v3'; it must be one of v1, v2"):
        create_model("geodtr_plus", extractor="v3", **TINY)


@pytest.mark.parametrize("method", ["geodtr", "geodtr_plus"])
def test_images_without_a_feature_map_are_refused(method):
    with pytest.raises(UserError, match="too small"):
        create_model(method, query_size=(2, 40), reference_size=(64, 64), polar=False, pretrained=False)


def test_heads_that_do_not_share_the_channels_are_refused():
    with pytest.raises(UserError, match="96 channels of the trunk are no multiple of the 5 heads"):
        create_model("geodtr_plus", heads=5, **TINY)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method, backbone",
    [("geodtr_plus", "vit_tiny_patch16_224"), ("geodtr_plus", "swin_tiny_patch4_window7_224"),
     ("safa", "vit_tiny_patch16_224"), ("netvlad", "vit_tiny_patch16_224"), ("l2ltr", "vit_tiny_patch16_224")],
)  # fmt: skip
def test_transformers_of_timm_are_trunks(method, backbone):
    sizes = dict(query_size=(48, 90), reference_size=(64, 64))
    model = create_model(method, backbone=backbone, pretrained=False, polar=False, **sizes).eval()
    for encode, size in ((model.encode_query, model.query_size), (model.encode_reference, model.reference_size)):
        embedding = encode(torch.rand(2, 3, *size))
        assert embedding.shape == (2, model.embedding_size) and embedding.isfinite().all()


@pytest.mark.slow
def test_a_shared_transformer_sees_images_of_both_sizes():
    options = dict(backbone="vit_tiny_patch16_224", pretrained=False, shared=True)
    model = create_model("simple", query_size=(48, 90), reference_size=(64, 64), **options)
    found = model(torch.rand(2, 3, 48, 90), torch.rand(2, 3, 64, 64))
    assert found.query.shape == found.reference.shape == (2, 512)


@pytest.mark.parametrize("sizes", [dict(), dict(polar=False)])
def test_a_shared_trunk_is_one_of_both_views_and_the_layouts_stay_apart(sizes, tmp_path):
    from geodtr_plugin.methods.weights import load_weights
    from geodtr_plugin.utils.files import write_safetensors

    apart, shared = (create_model("geodtr_plus", **TINY, **sizes, share=share).eval() for share in (False, True))
    assert shared.query_tower.trunk is shared.reference_tower.trunk
    assert shared.query_tower.layout is not shared.reference_tower.layout
    assert count_parameters(apart) - count_parameters(shared) == count_parameters(shared.query_tower.trunk)
    write_safetensors(tmp_path / "model.safetensors", shared.state_dict())
    again = load_weights(create_model(**shared.config), tmp_path / "model.safetensors").eval()
    images = torch.rand(2, 3, *shared.reference_size)
    with torch.no_grad():
        assert torch.equal(again.encode_reference(images), shared.encode_reference(images))


def test_a_shared_trunk_must_take_images_of_both_sizes():
    sizes = dict(query_size=(50, 90), reference_size=(64, 64), polar=False)
    with pytest.raises(UserError, match="cannot be built for images of 50x90 and 64x64 pixels"):
        create_model("geodtr_plus", pretrained=False, backbone="levit_128s", share=True, **sizes)


def test_the_recipe_of_the_weights_in_the_package_builds_and_the_papers_are_left_alone():
    recipes = METHODS["geodtr_plus"].recipes
    with torch.device("meta"):
        model = create_model("geodtr_plus", **{**recipes["ours"].model, "pretrained": False})
    assert model.polar and model.mean == model.std == (0.5, 0.5, 0.5)
    assert all(p.numel() for p in model.parameters()) and count_parameters(model) < 4e6
    for name in ("paper", "paper_offset", "laptop", "laptop_offset"):
        assert recipes[name].optim.ema is None and recipes[name].loss.name == "soft_margin"
