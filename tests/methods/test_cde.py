"""CDE: sizes, the authors' files, losses and updates by hand.

`Authors` computes from a state dict of the authors' layout with functional operations alone. The model of the paper was
also run beside the authors' own classes with equal random weights, on 112 x 616 images: embeddings differed by at most
1e-7, painted panoramas by 4e-6, logits by 1.5e-6; in training, the three losses of two steps by 2e-4 of them.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from cde_authors import Authors, authors_shapes, draw
from recorded_batches import record_batches
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_augmentation, build_trainer
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.methods.cde_step import generate
from geodtr_plugin.trainers.batches import Batch
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", pretrained=False, width=2, discriminator_width=4)
DATA = "--train synth-suburb --test synth-suburb --data.count 16 --workers 0 --threads 1 --device cpu"
SIZES = "--model.query_size [24,48] --model.width 2 --model.discriminator_width 4"
SMALL = f"--method cde {DATA} {SIZES} --batch-size 8 --epochs 2"


@pytest.fixture(scope="module")
def flat() -> dict[str, torch.Tensor]:
    """A file of theirs for images of 32 x 88, with random content, by full names."""
    generator = torch.Generator().manual_seed(1)
    tensors = {key: draw(key, shape, generator) for key, shape in authors_shapes(4 * 11).items()}
    # singular vectors of random kernels as training leaves them, so that weights are of ordinary size
    for key in [key for key in tensors if key.endswith("weight_orig")]:
        u, _, v = torch.linalg.svd(tensors[key].flatten(1), full_matrices=False)
        name = key.removesuffix("weight_orig")
        tensors[f"{name}weight_u"], tensors[f"{name}weight_v"] = u[:, 0].contiguous(), v[0].contiguous()
    return tensors


@pytest.fixture(scope="module")
def checkpoint(flat):
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        part, _, name = key.partition(".")
        parts.setdefault(part, {})[f"module.{name}"] = tensor  # they save what DataParallel wraps
    return parts | {"last_epoch": 3, "best_acc": 0.5, "optimizer_G_dict": {"state": {}, "param_groups": []}}


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(2, 3, 32, 88, generator=generator) * 2 - 1 for _ in range(2)]


@pytest.mark.parametrize(
    "options, parameters",
    [({}, 39_085_718), (dict(generator=False), 35_087_888), (dict(generator=False, polar=False), 34_179_176)],
)
def test_sizes_at_cvusa(options, parameters):
    """Counted in the authors' code: generator 9,507,908, discriminator 2,788,290, retrieval 26,789,520."""
    with torch.device("meta"):
        model = create_model("cde", pretrained=False, **options)
    assert count_parameters(model) == parameters and model.embedding_size == 2048
    assert model.reference_tower.spatial.w1.shape[0] == (14 * 77 if model.polar else 32 * 32)
    if model.decoder is None:
        return
    encoder, trunk = model.reference_tower.trunk, model.query_tower.trunk
    assert count_parameters(encoder, model.decoder) == 9_507_908 and count_parameters(encoder) == 8_298_368
    assert count_parameters(model.discriminator) == 2_788_290
    assert count_parameters(model.query_tower, model.reference_tower.spatial) == 26_789_520
    assert count_parameters(trunk) == 8_170_304


@pytest.mark.parametrize("generator", [True, False])
@torch.no_grad()
def test_the_authors_files_give_what_their_description_gives(flat, checkpoint, images, generator, tmp_path):
    model = create_model("cde", query_size=(32, 88), pretrained=False, generator=generator).eval()
    torch.save(checkpoint, tmp_path / "rgan_best_ckpt.pth")
    load_author_weights(model, tmp_path / "rgan_best_ckpt.pth")
    authors, (query, reference) = Authors(flat), images
    for ours, theirs in zip(model(query, reference), authors.embed(query, reference)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    if not generator:
        return
    maps, painted = generate(model, reference)
    theirs = authors.paint(authors.encode(reference))
    assert theirs.std() > 0.1
    torch.testing.assert_close(painted, theirs, rtol=0, atol=1e-4)
    judged = authors.judge(reference, theirs)
    torch.testing.assert_close(model.discriminator(torch.cat([reference, painted], 1)), judged, rtol=1e-4, atol=1e-4)
    sheet = model.pictures(query, reference)
    assert list(sheet) == ["polar tile", "generated panorama", "real panorama"]
    torch.testing.assert_close(sheet["generated panorama"], (theirs + 1) / 2, rtol=0, atol=1e-4)
    torch.testing.assert_close(sheet["real panorama"], (query + 1) / 2)


def test_a_file_without_the_generator_is_refused_where_there_is_one(checkpoint):
    model = create_model("cde", query_size=(32, 88), pretrained=False)
    with pytest.raises(UserError, match="Missing: generator_model_dict.attention2.g.weight_orig"):
        load_author_weights(model, {name: part for name, part in checkpoint.items() if "generator" not in name})


@torch.no_grad()
def test_without_generator_equal_weights_give_equal_embeddings(images):
    torch.manual_seed(0)
    whole = create_model("cde", **TINY).eval()
    torch.manual_seed(0)
    alone = create_model("cde", **TINY, generator=False).eval()
    towers = {name: x for name, x in whole.state_dict().items() if not name.startswith(("decoder", "discriminator"))}
    assert set(towers) == set(alone.state_dict())
    assert all(torch.equal(tensor, towers[name]) for name, tensor in alone.state_dict().items()), "equal beginnings"
    assert all(torch.equal(*pair) for pair in zip(whole(*images)[:2], alone(*images)[:2]))
    assert (whole.mark, alone.mark) == ("", "without generator")


def trainer_of(model, words=""):
    config = settings(f"{SMALL} {words} --out none")
    train = load_splits(config)[0]
    transforms = {
        "query": ImageTransform(*model.query_size),
        "reference": ImageTransform(*model.reference_size, model.polar),
    }
    return build_trainer(config, model, transforms, train, torch.device("cpu"))


def soft_margin(query, reference):
    distance = 2 - 2 * query @ reference.T
    own, others = distance.diag(), ~torch.eye(len(distance), dtype=torch.bool)
    there = torch.log1p(torch.exp(10 * (own[:, None] - distance)))[others].mean()
    return (there + torch.log1p(torch.exp(10 * (own[None] - distance)))[others].mean()) / 2


def cross_entropy(logits, target):
    return -(target * F.logsigmoid(logits) + (1 - target) * F.logsigmoid(-logits)).mean()


def test_two_steps_equal_the_turns_by_hand():
    torch.manual_seed(0)
    eps = 1e-2
    ours = create_model("cde", **TINY)
    with torch.no_grad():  # so that attention takes part
        ours.decoder.attention.gain += 0.5
        ours.discriminator.layers[4].gain += 0.5
    theirs = copy.deepcopy(ours).train()
    trainer = trainer_of(ours, f"--optim.eps {eps}")
    trainer.batch_transform = None
    generator = torch.Generator().manual_seed(3)
    steps = [[torch.rand(4, 3, 32, 88, generator=generator) * 2 - 1 for _ in range(2)] for _ in range(2)]

    def player(*modules):
        return torch.optim.Adam([p for m in modules for p in m.parameters()], 1e-3, betas=(0.5, 0.999), eps=eps)

    encoder, spatial = theirs.reference_tower.trunk, theirs.reference_tower.spatial
    retrieval = player(theirs.query_tower, spatial)
    judge, painter = player(theirs.discriminator), player(encoder, theirs.decoder)
    trainer.set_to_train()
    for optimizer in trainer.optimizers.values():
        optimizer.param_groups[0]["lr"] = 1e-3
    for query, reference in steps:
        trainer.load_batch = lambda q=query, r=reference: Batch(q, r, torch.arange(4), [0, 1, 2, 3])
        trainer.forward_and_backward()

        maps = encoder.maps(reference)
        painted = theirs.decoder(maps, (32, 88))
        fake = theirs.discriminator(torch.cat([reference, painted.detach()], 1))
        real = theirs.discriminator(torch.cat([reference, query], 1))
        judged = (cross_entropy(real, 0.9) + cross_entropy(fake, 0.0)) / 2
        judge.zero_grad()
        judged.backward()
        judge.step()
        features = maps[-1].detach()
        found = soft_margin(theirs.query_tower(query), theirs.reference_tower.aggregate(features))
        retrieval.zero_grad()
        found.backward()
        retrieval.step()
        deceived = cross_entropy(theirs.discriminator(torch.cat([reference, painted], 1)), 0.9)
        l1 = (painted - query).abs().mean()
        wanted = soft_margin(theirs.query_tower(query), theirs.reference_tower.aggregate(maps[-1]))
        painting = deceived + 100 * l1 + 1000 * wanted
        painter.zero_grad()
        painting.backward()
        painter.step()

        expected = {
            "metric_loss": found, "total_loss": found, "discriminator_loss": judged, "generator_loss": painting,
            "l1_loss": l1,
        }  # fmt: skip
        for name, value in expected.items():
            assert trainer.losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    state = theirs.state_dict()
    # Adam makes a step of what is a rounding error of the large objective: biases that are normalised away, few others
    normalised = ("stem.0.bias", "conv1.bias", "conv2.bias", "shortcut.bias")
    for name, tensor in ours.state_dict().items():
        close = torch.isclose(tensor, state[name], rtol=1e-3, atol=2e-5).float().mean()
        assert close > 0.99 or name.endswith(normalised), name


@pytest.mark.slow
def test_generator_and_discriminator_learn():
    """After 40 steps the panoramas are nearer than the mean one, and patches are told apart better than by chance."""
    torch.manual_seed(0)
    model = create_model("cde", **{**TINY, "query_size": (24, 48), "width": 4})
    trainer = trainer_of(model, "--epochs 20")
    batches = record_batches(trainer)
    trainer.train(1, 20)
    model.eval()
    with torch.no_grad():
        query, reference, _ = trainer.prepare(*(torch.cat(parts) for parts in zip(*(b[:3] for b in batches[-2:]))))
        painted = generate(model, reference)[1]
        real, fake = (model.discriminator(torch.cat([reference, x], 1)) for x in (query, painted))
    assert (painted - query).abs().mean() < 0.95 * (query.mean(0) - query).abs().mean()
    assert ((real > 0).float().mean() + (fake < 0).float().mean()) / 2 > 0.6
    assert trainer.epoch_losses["discriminator_loss"] < 0.6 < -(0.45 * math.log(0.45) + 0.55 * math.log(0.55))


def test_a_step_of_one_part_leaves_the_others_alone():
    torch.manual_seed(0)
    model = create_model("cde", **TINY)
    parts = {part: {id(p) for p in own} for part, own in model.own_step().parts().items()}
    assert list(parts) == ["retrieval", "discriminator", "generator"]
    trainer = trainer_of(model)
    assert set(trainer.optimizers) == {f"{part}_optimizer" for part in parts}
    for part, optimizer in trainer.optimizers.items():
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert own == parts[part.removesuffix("_optimizer")] and optimizer.defaults["betas"] == (0.5, 0.999)
    assert sorted(trainer.lr_schedulers) == sorted(f"{part}_scheduler_by_epoch" for part in parts)


def test_the_papers_recipe_mirrors_both_images_of_half_of_the_pairs_and_nothing_else():
    recipe = METHODS["cde"].recipes["paper"]
    chsg = build_augmentation(recipe.augment, True, (8, 24))
    torch.manual_seed(0)
    query, reference = torch.rand(200, 3, 8, 24), torch.rand(200, 3, 8, 24)
    after, tile, labels = chsg(query, reference, torch.arange(200))
    mirrored = [bool(torch.equal(a, b.flip(-1))) for a, b in zip(after, query)]
    assert len(after) == 200 and 70 < sum(mirrored) < 130 and torch.equal(labels, torch.arange(200))
    for own, a, b in zip(mirrored, [*zip(after, tile)], [*zip(query, reference)]):
        assert all(torch.equal(x, y.flip(-1) if own else y) for x, y in zip(a, b))
    # shares by the authors' epochs, which count from 0: all up to 20, then a tenth up to 40, ...
    steps = recipe.loss.schedule["hard_ratio"]
    share = {epoch: [value for begin, value in steps if begin <= epoch][-1] for epoch in range(200)}
    assert [share[epoch] for epoch in (0, 20, 21, 40, 41, 60, 61, 199)] == [1, 1, 0.1, 0.1, 0.05, 0.05, 0.01, 0.01]
