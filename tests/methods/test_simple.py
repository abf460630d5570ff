"""The baseline. There is no code of authors to compare with: `embedding` computes what the class says by plain tensor
operations on the state dict, on features of torchvision's ResNet-34 under its own names."""

import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet34

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.losses import SoftMarginTripletLoss
from geodtr_plugin.methods import METHODS
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), reference_size=(48, 48), backbone="tiny", pretrained=False)


@pytest.mark.parametrize(
    "options, parameters, embedding_size",
    [
        (dict(), 2 * (12_348_000 + 1 + 384 * 512 + 512), 512),
        (dict(shared=True), 12_348_000 + 1 + 384 * 512 + 512, 512),
        (dict(dim=0), 2 * (12_348_000 + 1), 384),
        (dict(backbone="resnet34", dim=0), 2 * (21_284_672 + 1), 512),
    ],
)
def test_sizes(options, parameters, embedding_size):
    with torch.device("meta"):
        model = create_model("simple", pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert (model.embedding_size, model.reference_size) == (embedding_size, (256, 256))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dim", [0, 40])
def test_both_towers_give_unit_vectors_and_get_gradients(shared, dim):
    torch.manual_seed(0)
    model = create_model("simple", shared=shared, dim=dim, **TINY)
    outputs = model(torch.rand(3, 3, 32, 88), torch.rand(3, 3, 48, 48))
    for embedding in outputs[:2]:
        assert embedding.shape == (3, dim or 96) and embedding.dtype == torch.float32
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    (outputs.query[:, 0].sum() + outputs.reference[:, 0].sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_shared_weights_stand_in_the_state_dict_once():
    own, shared = (create_model("simple", shared=shared, **TINY) for shared in (False, True))
    assert shared.query_tower is shared.reference_tower and own.query_tower is not own.reference_tower
    assert len(own.state_dict()) == 2 * len(shared.state_dict())
    assert not any("1." in key[:9] for key in shared.state_dict())


def embedding(state: dict[str, torch.Tensor], images: torch.Tensor, tower: int) -> torch.Tensor:
    """[B, 3, H, W] -> [B, D]."""
    weights = {k.removeprefix(f"towers.{tower}."): v for k, v in state.items() if k.startswith(f"towers.{tower}.")}
    net = resnet34().eval()
    net.maxpool, net.avgpool, net.fc = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Flatten()
    names = dict(enumerate(("conv1", "bn1", None, "layer1", "layer2", "layer3", "layer4")))
    trunk = {k.removeprefix("trunk."): v for k, v in weights.items() if k.startswith("trunk.")}
    net.load_state_dict({f"{names[int(k.split('.')[0])]}.{k.split('.', 1)[1]}": v for k, v in trunk.items()})
    features = net(images).unflatten(1, (512, -1))
    p = weights["pool.p"].item()
    pooled = ((features.clamp(min=1e-6) ** p).sum(2) / features.shape[2]) ** (1 / p)
    projected = pooled @ weights["project.weight"].T + weights["project.bias"]
    return projected / (projected**2).sum(1, keepdim=True).sqrt()


@torch.no_grad()
def test_embeddings_equal_the_description():
    torch.manual_seed(0)
    model = create_model("simple", pretrained=False, backbone="resnet34", query_size=(32, 88), dim=24, p=2.5).eval()
    query, reference = torch.randn(2, 3, 32, 88), torch.randn(2, 3, 48, 48)
    outputs, state = model(query, reference), model.state_dict()
    assert (outputs.query - embedding(state, query, 0)).abs().max() < 1e-5
    assert (outputs.reference - embedding(state, reference, 1)).abs().max() < 1e-5
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-3  # the images matter


@torch.no_grad()
def test_bfloat16_autocast_keeps_embeddings_in_fp32_and_near():
    torch.manual_seed(0)
    model = create_model("simple", **TINY).eval()
    query = torch.rand(2, 3, 32, 88)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.encode_query(query)
    assert low.dtype == torch.float32
    assert (low * model.encode_query(query)).sum(1).min() > 0.99


def test_it_learns_pairs_that_share_a_code():
    torch.manual_seed(0)
    model = create_model("simple", **{**TINY, "query_size": (16, 44), "reference_size": (24, 24)})
    code = torch.randn(8, 3, 4, 8)
    query, reference = (F.interpolate(code, size, mode="bilinear") for size in (model.query_size, model.reference_size))
    optimizer, loss_function = torch.optim.AdamW(model.parameters(), lr=1e-3), SoftMarginTripletLoss()
    losses = []
    for _ in range(15):
        outputs = model(query, reference)
        losses.append(loss_function(outputs.query, None, ref_emb=outputs.reference))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    assert torch.equal((outputs.query @ outputs.reference.T).argmax(1), torch.arange(8))


@pytest.mark.parametrize("name", METHODS["simple"].recipes)
def test_every_recipe_builds_and_is_plain(name):
    recipe = METHODS["simple"].recipes[name]
    with torch.device("meta"):
        model = create_model("simple", **{**recipe.model, "pretrained": False})
    assert not model.polar and recipe.loss.counterfactual == 0
    assert recipe.augment.chsg == "raw"  # no layouts, no colours, whatever their strengths are set to


def test_what_cannot_be_is_answered_with_a_sentence():
    with pytest.raises(UserError, match="Images of 2x88 pixels are too small"):
        create_model("simple", pretrained=False, query_size=(2, 88))
    with pytest.raises(UserError, match="no checkpoint layout of its authors"):
        load_author_weights(create_model("simple", **TINY), {})
