"""SAFA. Its authors' TensorFlow code does not run here, so that `embedding` stands for it: the published description in
plain tensor operations on the state dict, with poolings as TensorFlow pads them, written without our layers. The same
in TensorFlow's own order stands in test_tensorflow.py."""

import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", pretrained=False)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
POOLED_AFTER = (2, 7, 14, 21, 28)
VIGOR = dict(query_size=(320, 640), reference_size=(320, 320), polar=False)


@pytest.mark.parametrize(
    "options, parameters, embedding_size",
    [
        (dict(), 29_533_696, 4096),  # maps of 4 x 20 = 80 positions
        (dict(polar=False), 29_515_072, 4096),  # 8 x 8 = 64 positions of the aerial image
        (VIGOR, 2 * 14_714_688 + 8 * (2 * 200 * 100 + 300) + 8 * (2 * 100 * 50 + 150), 4096),
        (dict(heads=3), None, 1536),
    ],
)
def test_sizes_equal_the_authors(options, parameters, embedding_size):
    with torch.device("meta"):
        model = create_model("safa", pretrained=False, **options)
    assert model.embedding_size == embedding_size
    if parameters:
        assert sum(p.numel() for p in model.parameters()) == parameters


def test_sizes_and_statistics_that_go_with_the_trunk():
    with torch.device("meta"):
        model = create_model("safa", pretrained=False, polar=False)
    assert model.reference_size == (256, 256)
    images = torch.tensor([255.0, 128.0, 0.0])  # RGB of 0 to 255
    found = (images / 255 - torch.tensor(model.mean)) / torch.tensor(model.std)
    torch.testing.assert_close(found, images - torch.tensor([123.6, 116.779, 103.939]))
    assert create_model("safa", **TINY).mean == (0.485, 0.456, 0.406)
    assert create_model("safa", polar=False, **TINY).reference_size == (64, 64)


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor, tower: str, pool: str) -> torch.Tensor:
    """[B, 3, H, W] -> [B, 8 * 512], head by head as the authors'."""
    w = {key.removeprefix(tower + "."): tensor for key, tensor in state.items() if key.startswith(tower)}
    x = images
    for index in CONVOLUTIONS:
        x = F.conv2d(x, w[f"trunk.{index}.weight"], w[f"trunk.{index}.bias"], padding=1).clamp(min=0)
        if index in POOLED_AFTER:  # TensorFlow's SAME: an odd side gets one more row or column, which no maximum takes
            x = F.max_pool2d(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=-1.0), 2)
    heads = []
    for k in range(8):
        response = x.sum(1) / 512 if pool == "mean" else x.max(1).values
        hidden = response.flatten(1) @ w["spatial.w1"][:, :, k] + w["spatial.b1"][0, :, k]
        mask = hidden @ w["spatial.w2"][:, :, k] + w["spatial.b2"][0, :, k]
        heads.append((x * mask.view(-1, 1, *x.shape[2:])).sum((2, 3)))
    stacked = torch.cat(heads, dim=1)
    return stacked / (stacked**2).sum(1, keepdim=True).sqrt()


@torch.no_grad()
@pytest.mark.parametrize("pool", ["mean", "max"])
def test_embeddings_equal_the_description(pool):
    generator = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        model = create_model("safa", pretrained=False, query_size=(52, 140), polar=False, pool=pool)
    model = model.to_empty(device="cpu").eval()
    for name, parameter in model.named_parameters():
        scale = 2 / parameter[0].numel() if "trunk" in name else 1 / len(parameter)
        spread = scale**0.5 if parameter.ndim > 1 and len(parameter) > 1 else 0.05
        parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    query = torch.randn(2, 3, *model.query_size, generator=generator)
    reference = torch.randn(2, 3, *model.reference_size, generator=generator)
    outputs, state = model(query, reference), model.state_dict()
    for name, ours, images in (("query", outputs.query, query), ("reference", outputs.reference, reference)):
        by_head = ours.unflatten(1, (512, 8)).transpose(1, 2).flatten(1)
        assert (by_head - embedding(state, images, f"{name}_tower", pool)).abs().max() < 1e-5
        assert (ours[0] - ours[1]).abs().max() > 1e-3  # the images matter


@pytest.mark.parametrize("polar", [True, False])
def test_both_towers_give_unit_vectors_and_get_gradients(polar):
    torch.manual_seed(0)
    model = create_model("safa", polar=polar, **TINY)
    outputs = model(torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size))
    for found in outputs[:2]:
        assert found.shape == (3, model.embedding_size) and found.dtype == torch.float32
        torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    (outputs.query[:, 0].sum() + outputs.reference[:, 0].sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.query_tower.trunk is not model.reference_tower.trunk


def test_dropout_is_that_of_the_authors():
    with torch.device("meta"):
        trunk = create_model("safa", pretrained=False).query_tower.trunk
    assert trunk.dropout == 0.2
    assert trunk.dropout_after == {f"conv{block}_{i}" for block in (4, 5) for i in (1, 2, 3)}


@pytest.mark.parametrize("name", METHODS["safa"].recipes)
def test_every_recipe_builds(name):
    recipe = METHODS["safa"].recipes[name]
    with torch.device("meta"):
        model = create_model("safa", **{**recipe.model, "pretrained": False})
    assert model.embedding_size > 0 and recipe.loss.counterfactual == 0
    assert recipe.augment.chsg == "raw"  # no layouts, no colours, whatever their strengths are set to


def test_the_paper_recipe_is_the_authors():
    optim = METHODS["safa"].recipes["paper"].optim
    assert (optim.name, optim.lr, optim.weight_decay, optim.schedule) == ("adam", 1e-5, 0, "constant")
    assert (optim.batch_size, optim.epochs, optim.warmup_epochs, optim.max_grad_norm) == (32, 100, 0, None)


def test_what_cannot_be_is_answered_with_a_sentence():
    with pytest.raises(UserError, match="none of safa, and no checkpoint layout"):  # the authors had no such trunk
        load_author_weights(create_model("safa", **TINY), {"anything": torch.zeros(1)})
    with pytest.raises(UserError, match="at least 2 positions"):
        create_model("safa", pretrained=False, query_size=(32, 32))
    with pytest.raises(UserError, match="pool is 'sum'"):
        create_model("safa", pool="sum", **TINY)
