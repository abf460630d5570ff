"""TransGeo: sizes of the paper, the authors' checkpoints, and what stage 2 looks at.

`authors_embedding` and `authors_attention` compute with plain tensor operations on a state dict of the authors' names.
Beside them, model and authors' code were run once on the same weights: stage 1, resized ImageNet weights and 8-bit
attention are equal bit for bit, embeddings of stage 2 to 1e-7.
"""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.layers import build_distilled_vit, resize_positions
from geodtr_plugin.layers.attention_crop import extra_token_attention
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.weights import load_weights
from geodtr_plugin.utils.errors import UserError

VIGOR = dict(query_size=(320, 640), reference_size=(320, 320))
WIDTH, DEPTH, HEADS, OUTPUTS = 192, 12, 3, 10  # DeiT-Ti: the paper's network at half its width
SIZES = dict(query_size=(32, 88), reference_size=(64, 64), embedding_size=OUTPUTS, pretrained=False)
DEIT = dict(SIZES, backbone="deit_tiny_distilled_patch16_224")
DEIT2 = dict(DEIT, reference_size=(80, 80), stage=2)
TINY = dict(SIZES, backbone="tiny")
TINY2 = dict(TINY, reference_size=(80, 80), stage=2)
TOKENS = {"query_net": 2 + 2 * 5, "reference_net": 2 + 4 * 4}  # 88 / 16 = 5.5: the last columns are not seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, trained, kept",
    [
        (dict(), 44_922_784, None),
        (dict(stage=2), 44_978_080, 256),
        (VIGOR, 45_183_136, None),
        (dict(VIGOR, stage=2, reference_size=(400, 400)), 45_269_536, 400),
    ],
)
def test_sizes_equal_the_authors(options, trained, kept):
    with torch.device("meta"):
        model = create_model("transgeo", pretrained=False, **options)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trained
    assert model.embedding_size == 1000
    assert kept is None or model.reference_tower.kept == kept  # as many as stage 1 had


def test_sizes_that_go_with_each_other():
    with torch.device("meta"):
        first, second = (create_model("transgeo", pretrained=False, stage=stage) for stage in (1, 2))
    assert first.reference_size == (256, 256) == second.guide_size
    assert second.reference_size == (320, 320)


# --- the authors' checkpoints ---


def authors_shapes(reference_tokens: int = TOKENS["reference_net"]) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the authors' file, which are timm's."""
    shapes = {}
    for net, tokens in {**TOKENS, "reference_net": reference_tokens}.items():
        shapes |= {f"{net}.{token}": (1, 1, WIDTH) for token in ("cls_token", "dist_token")}
        shapes[f"{net}.pos_embed"] = (1, tokens, WIDTH)
        layers = {"patch_embed.proj": (WIDTH, 3, 16, 16), "head": (OUTPUTS, WIDTH), "head_dist": (OUTPUTS, WIDTH)}
        for i in range(DEPTH):
            layers |= {
                f"blocks.{i}.attn.qkv": (3 * WIDTH, WIDTH), f"blocks.{i}.attn.proj": (WIDTH, WIDTH),
                f"blocks.{i}.mlp.fc1": (4 * WIDTH, WIDTH), f"blocks.{i}.mlp.fc2": (WIDTH, 4 * WIDTH),
                f"blocks.{i}.norm1": (WIDTH,), f"blocks.{i}.norm2": (WIDTH,),
            }  # fmt: skip
        for name, shape in (layers | {"norm": (WIDTH,)}).items():
            shapes |= {f"{net}.{name}.weight": shape, f"{net}.{name}.bias": shape[:1]}
    return shapes


def draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Random content under which signals neither vanish nor explode, and attention is not flat."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        tensor = torch.randn(shape, generator=generator)
        if len(shape) in (2, 4):
            tensor = tensor * (2 if "qkv" in key else 1) / math.sqrt(math.prod(shape[1:]))
        elif "norm" in key:
            tensor = 0.1 * tensor + (1 if key.endswith("weight") else 0)
        state[key] = tensor
    return state


@pytest.fixture(scope="module")
def stage1() -> dict[str, torch.Tensor]:
    return draw(authors_shapes(), 1)


@pytest.fixture(scope="module")
def stage2() -> dict[str, torch.Tensor]:
    return draw(authors_shapes(2 + 5 * 5), 2)


def net(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}


def norm(w, x, name):
    return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)


def linear(w, x, name):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def attention(w, x, block):
    """Weights [B, heads, tokens, tokens] of a block for its normalised tokens, and values."""
    q, k, v = linear(w, x, f"blocks.{block}.attn.qkv").chunk(3, dim=-1)
    split = lambda t: torch.stack(t.chunk(HEADS, dim=-1), dim=1)  # noqa: E731
    return (split(q) @ split(k).mT / math.sqrt(WIDTH / HEADS)).softmax(-1), split(v)


def authors_tokens(w, images, kept=None, blocks=DEPTH):
    patches = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=16).flatten(2).mT
    x = torch.cat([w[name].expand(len(images), 1, WIDTH) for name in ("cls_token", "dist_token")] + [patches], dim=1)
    x = x + w["pos_embed"]
    if kept is not None:
        x = torch.stack([torch.cat([row[:2], row[2:][chosen]]) for row, chosen in zip(x, kept)])
    for i in range(blocks):
        weights, values = attention(w, norm(w, x, f"blocks.{i}.norm1"), i)
        x = x + linear(w, torch.cat((weights @ values).unbind(1), dim=-1), f"blocks.{i}.attn.proj")
        hidden = F.gelu(linear(w, norm(w, x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1"))
        x = x + linear(w, hidden, f"blocks.{i}.mlp.fc2")
    return x


def authors_embedding(w, images, kept=None):
    x = norm(w, authors_tokens(w, images, kept), "norm")
    embedding = (linear(w, x[:, 0], "head") + linear(w, x[:, 1], "head_dist")) / 2
    return embedding / embedding.norm(dim=1, keepdim=True)


def authors_attention(w, images):
    """[B, 3, 64, 64] -> [B, 1, 4, 4]: both extra tokens of the last block, all heads; 1 where greatest."""
    x = authors_tokens(w, images, blocks=DEPTH - 1)
    weights, _ = attention(w, norm(w, x, f"blocks.{DEPTH - 1}.norm1"), DEPTH - 1)
    looked_at = weights[:, :, :2, 2:].sum(dim=(1, 2)).reshape(-1, 1, 4, 4)
    return torch.stack([each / each.max() for each in looked_at])


def authors_choice(w, images):
    """The patches of 5 x 5 that stage 2 keeps, as sets."""
    small = F.interpolate(images, (64, 64), mode="bilinear", antialias=True)
    scores = F.interpolate(authors_attention(w, small), (5, 5), mode="bilinear").flatten(1)
    return [row.argsort()[-16:] for row in scores]


@torch.no_grad()
def test_stage_1_agrees_with_the_description_of_the_method(stage1):
    model = create_model("transgeo", **DEIT).eval()
    load_author_weights(model, {"epoch": 1, "state_dict": with_module(stage1)})
    query, reference = torch.randn(3, 3, 32, 88), torch.randn(3, 3, 64, 64)
    outputs = model(query, reference)
    torch.testing.assert_close(outputs.query, authors_embedding(net(stage1, "query_net"), query), rtol=0, atol=1e-5)
    expected = authors_embedding(net(stage1, "reference_net"), reference)
    torch.testing.assert_close(outputs.reference, expected, rtol=0, atol=1e-5)
    assert (outputs.query[0] - outputs.query[1]).abs().max() > 1e-2  # the images matter


@torch.no_grad()
def test_stage_2_agrees_with_the_description_of_the_method(stage1, stage2):
    model = create_model("transgeo", **DEIT2).load_guide(stage1).eval()
    load_author_weights(model, stage2)
    images = torch.randn(3, 3, 80, 80)
    chosen = authors_choice(net(stage1, "reference_net"), images)
    assert len({tuple(sorted(row.tolist())) for row in chosen}) == 3  # each image has a crop of its own
    expected = authors_embedding(net(stage2, "reference_net"), images, chosen)
    torch.testing.assert_close(model.encode_reference(images), expected, rtol=0, atol=1e-5)
    uncropped = authors_embedding(net(stage2, "reference_net"), images)
    assert (uncropped - expected).abs().max() > 1e-2  # the crop matters


@torch.no_grad()
def test_attention_is_that_of_the_extra_tokens_and_rounds_down_to_8_bits(stage1):
    images = torch.randn(2, 3, 64, 64)
    expected = authors_attention(net(stage1, "reference_net"), images)
    for eight_bit in (False, True):
        guide = create_model("transgeo", eight_bit=eight_bit, **DEIT2).load_guide(stage1).reference_tower.guide
        found = guide(images)
        assert found.amax(dim=(1, 2, 3)).tolist() == [1.0, 1.0]
        if eight_bit:
            assert torch.equal(found * 255, (found * 255).round())
            assert (expected - found).min() > -1e-5 and (expected - found).max() < 1 / 255
        else:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def with_module(state):
    return {f"module.{key}": tensor for key, tensor in state.items()}


def test_every_tensor_of_the_authors_is_used(stage1, stage2):
    for options, state in ((DEIT, stage1), (DEIT2, stage2)):
        model = create_model("transgeo", **options)
        if model.stage == 2:
            model.load_guide(stage1)
        load_author_weights(model, state)
        ours = {model.author_key(key): tensor for key, tensor in model.state_dict().items()}
        assert {key for key in ours if not key.startswith("guide.")} == set(state)
        assert all(torch.equal(ours[key], tensor) for key, tensor in state.items())
        if model.stage == 2:
            assert all(torch.equal(ours[f"guide.{key}"], t) for key, t in net(stage1, "reference_net").items())


def test_a_stage_1_file_of_the_authors_starts_stage_2(stage1):
    model = load_author_weights(create_model("transgeo", **DEIT2), stage1)
    tower, source = model.reference_tower, net(stage1, "reference_net")
    assert torch.equal(tower.guide.trunk.pos_embed, source["pos_embed"])
    assert torch.equal(tower.trunk.pos_embed, resize_positions(source["pos_embed"], (5, 5)))
    assert torch.equal(tower.trunk.head.weight, source["head.weight"])
    assert torch.equal(tower.guide.trunk.head.weight, source["head.weight"])
    assert torch.equal(model.query_tower.trunk.pos_embed, stage1["query_net.pos_embed"])


@pytest.mark.slow
def test_faults_of_checkpoints_are_named(stage1, stage2):
    first, second = create_model("transgeo", **DEIT), create_model("transgeo", **DEIT2)
    missing = {key: tensor for key, tensor in stage1.items() if key != "query_net.norm.bias"}
    with pytest.raises(UserError, match="Missing: query_net.norm.bias. Not known to the model: none"):
        load_author_weights(first, missing)
    for model in (first, second):
        with pytest.raises(UserError, match="Not known to the model: extra"):
            load_author_weights(model, stage1 | {"extra": torch.zeros(1)})
    with pytest.raises(UserError, match="reference_tower.trunk.pos_embed is .1, 27, 192. there"):
        load_author_weights(first, stage2)
    with pytest.raises(UserError, match="Only stage 2 has a guide"):
        first.load_guide(stage1)
    with pytest.raises(UserError, match="do not fit the model"):
        second.load_guide(missing)


def test_a_stage_2_file_alone_is_warned_of(stage1, stage2):
    model = create_model("transgeo", **DEIT2)
    with pytest.warns(UserWarning, match="load_guide"):
        load_author_weights(model, stage2)


# --- our own weights ---


@pytest.mark.parametrize("side", [64, 48])
def test_our_stage_1_weights_start_stage_2(side, tmp_path):
    first = create_model("transgeo", **dict(TINY, reference_size=(side, side)))
    save_file(first.state_dict(), tmp_path / "last.safetensors")
    second = load_weights(create_model("transgeo", **TINY2), tmp_path)
    source, tower = first.reference_tower.trunk, second.reference_tower
    assert torch.equal(tower.guide.trunk.pos_embed, resize_positions(source.pos_embed, (8, 8)))
    assert torch.equal(tower.trunk.pos_embed, resize_positions(source.pos_embed, (10, 10)))
    assert torch.equal(tower.guide.trunk.cls_token, source.cls_token)
    assert all(torch.equal(t, first.query_tower.state_dict()[k]) for k, t in second.query_tower.state_dict().items())
    save_file(second.state_dict(), tmp_path / "best.safetensors")  # and stage 2's own weights come back as they are
    again = load_weights(create_model("transgeo", **TINY2), tmp_path / "best.safetensors")
    assert all(torch.equal(tensor, second.state_dict()[key]) for key, tensor in again.state_dict().items())
    with pytest.raises(UserError, match="Not known to the model: reference_tower.guide"):
        load_weights(create_model("transgeo", **dict(TINY2, stage=1)), tmp_path / "best.safetensors")


def test_positions_are_interpolated_between_their_neighbours():
    positions = torch.cat([torch.full((1, 2, 1), 7.0), torch.tensor([0.0, 1, 2, 3]).view(1, 4, 1)], dim=1)
    found = resize_positions(positions, (2, 4)).flatten()
    torch.testing.assert_close(found, torch.tensor([7, 7, 0, 0.25, 0.75, 1, 2, 2.25, 2.75, 3]))
    assert resize_positions(positions, (2, 2)) is positions
    with pytest.raises(UserError, match="5 position embeddings are no square grid"):
        resize_positions(torch.zeros(1, 7, 3), (2, 2))


def test_pretrained_positions_are_resized_without_antialiasing(monkeypatch):
    """As torchvision resized tensors when the paper was written."""
    import timm

    create, found = timm.create_model, []

    def downloaded(name, pretrained=False, **options):
        assert pretrained and "img_size" not in options  # timm would resize bicubically
        vit = create(name, **options)
        found.append(vit.pos_embed.detach().clone())
        return vit

    monkeypatch.setattr(timm, "create_model", downloaded)
    vit = build_distilled_vit("deit_tiny_distilled_patch16_224", (112, 616), OUTPUTS)
    grid = found[0][:, 2:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (7, 38), mode="bilinear").flatten(2).mT
    torch.testing.assert_close(vit.pos_embed[:, 2:], expected)
    assert torch.equal(vit.pos_embed[:, :2], found[0][:, :2]) and vit.pos_embed.requires_grad
    assert vit(torch.zeros(1, 3, 112, 616)).shape == (1, OUTPUTS)


# --- behaviour ---


@pytest.mark.parametrize("options", [TINY, TINY2, DEIT2], ids=["tiny", "tiny stage 2", "deit stage 2"])
def test_both_towers_give_unit_vectors_and_get_gradients(options):
    model = create_model("transgeo", **options)
    outputs = model(torch.rand(3, 3, *model.query_size), torch.rand(3, 3, *model.reference_size))
    for embedding in (outputs.query, outputs.reference):
        assert embedding.shape == (3, OUTPUTS) and embedding.dtype == torch.float32
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    (outputs.query[:, 0].sum() + outputs.reference[:, 0].sum()).backward()
    for name, p in model.named_parameters():
        assert (p.grad is None) == (not p.requires_grad) == ("guide" in name)
        assert p.grad is None or p.grad.isfinite().all()


def test_the_guide_learns_nothing_in_training():
    model = create_model("transgeo", **TINY2).train()
    guide = model.reference_tower.guide
    assert model.reference_tower.trunk.training and not any(module.training for module in guide.modules())
    before = {key: tensor.clone() for key, tensor in guide.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    model.encode_reference(torch.rand(4, 3, 80, 80))[:, 0].sum().backward()
    optimizer.step()
    assert all(torch.equal(before[key], tensor) for key, tensor in guide.state_dict().items())


@torch.no_grad()
def test_patches_that_are_not_kept_do_not_matter():
    model = create_model("transgeo", **DEIT2).eval()
    images = torch.rand(1, 3, 80, 80)
    scores = torch.rand(1, 1, 5, 5)
    model.reference_tower.guide.forward = lambda _: scores
    before = model.encode_reference(images)
    order = scores.flatten().argsort()
    for patch, matters in ((int(order[0]), False), (int(order[-1]), True)):
        changed, (row, column) = images.clone(), (patch // 5 * 16, patch % 5 * 16)
        changed[..., row : row + 16, column : column + 16] = 0
        assert torch.equal(model.encode_reference(changed), before) != matters


@torch.no_grad()
def test_keeping_all_patches_is_no_crop():
    model = create_model("transgeo", **dict(DEIT2, keep=1.0)).eval()
    images = torch.rand(2, 3, 80, 80)
    expected = F.normalize(model.reference_tower.trunk(images), dim=1)
    torch.testing.assert_close(model.encode_reference(images), expected, rtol=0, atol=1e-5)


def test_attention_has_the_shape_of_the_grid():
    vit = build_distilled_vit("tiny", (32, 88), OUTPUTS)
    assert extra_token_attention(vit.eval(), torch.rand(2, 3, 32, 88)).shape == (2, 1, 4, 11)


@pytest.mark.parametrize("stage", [1, 2])
def test_bfloat16_autocast_keeps_embeddings_in_fp32_and_near(stage):
    model = create_model("transgeo", **(DEIT if stage == 1 else DEIT2)).eval()
    images = torch.rand(2, 3, *model.reference_size)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = model.encode_reference(images)
    assert low.dtype == torch.float32
    assert (low * model.encode_reference(images)).sum(1).min() > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS["transgeo"].recipes)
def test_every_recipe_builds_and_goes_on_to_one_that_ends(name):
    recipes = METHODS["transgeo"].recipes
    with torch.device("meta"):
        model = create_model("transgeo", **{**recipes[name].model, "pretrained": False})
    after = recipes[name].next_stage
    if after is not None:
        assert recipes[after].next_stage is None and recipes[after].model["stage"] == 2
        with torch.device("meta"):
            second = create_model("transgeo", **{**recipes[after].model, "pretrained": False})
        assert second.guide_size == model.reference_size and second.query_size == model.query_size


def test_mistakes_are_named():
    for options, message in (
        (dict(polar=True), "without a polar transform: use --no-polar"),
        (dict(stage=3), "stage is 3"),
        (dict(stage=2, keep=0.0), "keep is 0.0; of 100 patches it must leave at least one"),
        (dict(stage=2, keep=1.1), "keep is 1.1"),
        (dict(backbone="deit_tiny_distilled_patch16_224", query_size=(8, 88)), "Images of 8x88 hold no patch"),
        (dict(backbone="resnet18"), "There is no distilled Transformer 'resnet18'"),
    ):
        with pytest.raises(UserError, match=message):
            create_model("transgeo", **{**TINY2, "stage": 1, **options})
