"""CDE: sizes, the authors' files, losses and updates by hand, what a run with it writes and refuses.

`Authors` computes from a state dict of the authors' layout with functional operations alone. The model of the paper was
also run beside the authors' own classes with equal random weights, on 112 x 616 images: embeddings differed by at most
1e-7, painted panoramas by 4e-6, logits by 1.5e-6; the retrieval's loss was the same at all four shares.
"""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from recorded_batches import record_batches
from safetensors.torch import load_file
from torch.nn import functional as F

from geodtr_plugin import create_model, load_author_weights
from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.commands.run import run_command
from geodtr_plugin.harness import settings
from geodtr_plugin.harness.build import build_augmentation, build_trainer
from geodtr_plugin.harness.checks import check_recipe
from geodtr_plugin.harness.data import load_splits
from geodtr_plugin.methods import METHODS
from geodtr_plugin.methods.base import count_parameters
from geodtr_plugin.methods.cde_step import generate
from geodtr_plugin.trainers import CrossViewTrainer
from geodtr_plugin.trainers.batches import Batch
from geodtr_plugin.utils.errors import UserError

TINY = dict(query_size=(32, 88), backbone="tiny", pretrained=False, width=2, discriminator_width=4)
G, D, R = "generator_model_dict.", "discriminator_model_dict.model.", "retriebal_model_dict."
DATA = "--train synth-suburb --test synth-suburb --data.count 16 --workers 0 --threads 1 --device cpu"
SIZES = "--model.query_size [24,48] --model.width 2 --model.discriminator_width 4"
SMALL = f"--method cde {DATA} {SIZES} --batch-size 8 --epochs 2"


def authors_shapes(positions: int) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the authors' checkpoints, for maps of so many positions."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name, inputs, outputs, kernel, bias=True, spectral=True):
        shapes[f"{name}.weight{'_orig' if spectral else ''}"] = (outputs, inputs, kernel, kernel)
        if spectral:
            shapes[f"{name}.weight_u"], shapes[f"{name}.weight_v"] = (outputs,), (inputs * kernel**2,)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name, channels):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels,)

    def block(name, inputs, outputs):
        for part, into, kernel in (("conv_r1", inputs, 3), ("conv_r2", outputs, 3), ("conv_l", inputs, 1)):
            conv(f"{name}.{part}.conv2d", into, outputs, kernel)

    def attention(name, channels):
        for part, inputs, outputs in (("theta", 8, 1), ("phi", 8, 1), ("g", 8, 4), ("o", 4, 8)):
            conv(f"{name}.{part}", inputs * channels // 8, outputs * channels // 8, 1, bias=False)
        shapes[f"{name}.gamma"] = ()

    conv(f"{G}begin_conv", 3, 32, 7)
    norm(f"{G}begini_e", 32)
    for i, (inputs, outputs) in enumerate(((32, 64), (64, 128), (128, 256)), 1):
        block(f"{G}conv{i}", inputs, outputs)
        norm(f"{G}in{i}_e", outputs)
    for i in range(1, 7):
        for part in (1, 2):
            conv(f"{G}res{i}.conv{part}.conv2d", 256, 256, 3)
            norm(f"{G}res{i}.in{part}", 256)
    attention(f"{G}attention2", 256)
    for i, inputs, outputs in ((3, 512, 128), (2, 256, 64), (1, 128, 64)):
        block(f"{G}deconv{i}", inputs, outputs)
        norm(f"{G}deconv{i}.norm_r1", inputs)
        norm(f"{G}deconv{i}.norm_r2", outputs)
        norm(f"{G}in{i}_d", outputs)
    conv(f"{G}conv_end.0", 64, 3, 3, spectral=False)
    for i, inputs, outputs in ((0, 6, 64), (2, 64, 128), (5, 128, 256), (7, 256, 512), (9, 512, 1)):
        conv(f"{D}{i}", inputs, outputs, 4, spectral=i not in (0, 9))
    attention(f"{D}4", 128)
    return shapes | retrieval_shapes(positions)


def retrieval_shapes(positions: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def conv_norm(conv, norm, inputs, outputs, kernel):
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{norm}.{part}": (outputs,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{norm}.num_batches_tracked"] = ()

    conv_norm(f"{R}extract2.layers.0", f"{R}extract2.layers.1", 3, 64, 7)
    before = 64
    for layer, channels, blocks in ((3, 64, 3), (4, 128, 4), (5, 256, 6)):
        for i in range(blocks):
            name = f"{R}extract2.layers.{layer}.{i}"
            conv_norm(f"{name}.conv1", f"{name}.bn1", before, channels, 3)
            conv_norm(f"{name}.conv2", f"{name}.bn2", channels, channels, 3)
            if before != channels:
                conv_norm(f"{name}.downsample.0", f"{name}.downsample.1", before, channels, 1)
            before = channels
    half = positions // 2
    for name in ("sa1", "sa2"):
        shapes[f"{R}{name}.w1"], shapes[f"{R}{name}.b1"] = (positions, half, 8), (1, half, 8)
        shapes[f"{R}{name}.w2"], shapes[f"{R}{name}.b2"] = (half, positions, 8), (1, positions, 8)
    return shapes


def draw(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    tensor = torch.randn(shape, generator=generator)
    if key.endswith(("_u", "_v")):
        return F.normalize(tensor, dim=0)
    if key.endswith("running_var"):
        return 1 + tensor.abs()
    if key.endswith("gamma"):
        return tensor.abs() + 0.5
    if len(shape) > 1 and not key.endswith(("b1", "b2")):
        return tensor / math.sqrt(math.prod(shape[1:]))
    return 0.1 * tensor + (1 if key.endswith("weight") else 0)


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


class Authors:
    """Their networks in evaluation mode, by the description of the method."""

    def __init__(self, tensors):
        self.w = tensors

    def conv(self, x, name, pad=0, stride=1, reflect=True):
        weight = self.w.get(f"{name}.weight")
        if weight is None:
            weight = self.w[f"{name}.weight_orig"]
            sigma = self.w[f"{name}.weight_u"] @ weight.flatten(1) @ self.w[f"{name}.weight_v"]
            weight = weight / sigma
        x = F.pad(x, [pad] * 4, mode="reflect") if reflect and pad else F.pad(x, [pad] * 4)
        return F.conv2d(x, weight, self.w.get(f"{name}.bias"), stride)

    def norm(self, x, name):
        mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
        x = (x - mean) / (var + 1e-5).sqrt()
        return x * self.w[f"{name}.weight"][:, None, None] + self.w[f"{name}.bias"][:, None, None]

    def attention(self, x, name):
        b, _, h, w = x.shape
        theta = self.conv(x, f"{name}.theta").flatten(2)
        phi, g = (F.max_pool2d(self.conv(x, f"{name}.{part}"), 2).flatten(2) for part in ("phi", "g"))
        found = g @ (theta.transpose(1, 2) @ phi).softmax(-1).transpose(1, 2)
        return self.w[f"{name}.gamma"] * self.conv(found.view(b, -1, h, w), f"{name}.o") + x

    def encode(self, x):
        x = self.norm(self.conv(x, f"{G}begin_conv", 3), f"{G}begini_e")
        maps = []
        for i in (1, 2, 3):
            name = f"{G}conv{i}"
            y = self.conv(F.relu(self.conv(F.relu(x), f"{name}.conv_r1.conv2d", 1)), f"{name}.conv_r2.conv2d", 1)
            x = F.avg_pool2d(y, 2) + F.avg_pool2d(self.conv(x, f"{name}.conv_l.conv2d"), 2)
            maps.append(x := self.norm(x, f"{G}in{i}_e"))
        for i in range(1, 7):
            name = f"{G}res{i}"
            y = F.relu(self.norm(self.conv(x, f"{name}.conv1.conv2d", 1), f"{name}.in1"))
            x = self.norm(self.conv(y, f"{name}.conv2.conv2d", 1), f"{name}.in2") + x
        return [*maps, x]

    def up(self, x, i):
        name = f"{G}deconv{i}"
        y = F.interpolate(F.relu(self.norm(x, f"{name}.norm_r1")), scale_factor=2)
        y = F.relu(self.norm(self.conv(y, f"{name}.conv_r1.conv2d", 1), f"{name}.norm_r2"))
        y = self.conv(y, f"{name}.conv_r2.conv2d", 1)
        return self.norm(y + self.conv(F.interpolate(x, scale_factor=2), f"{name}.conv_l.conv2d"), f"{G}in{i}_d")

    def paint(self, maps):
        half, quarter, eighth, last = maps
        x = self.attention(torch.cat([self.up(torch.cat([last, eighth], 1), 3), quarter], 1), f"{G}attention2")
        x = self.up(torch.cat([self.up(x, 2), half], 1), 1)
        return self.conv(x, f"{G}conv_end.0", 1, reflect=False).tanh()

    def judge(self, tile, panorama):
        x = torch.cat([tile, panorama], 1)
        for i, stride in ((0, 2), (2, 2), (5, 2), (7, 1)):
            x = F.leaky_relu(self.conv(x, f"{D}{i}", 1, stride, reflect=False), 0.1)
            x = self.attention(x, f"{D}4") if i == 2 else x
        return self.conv(x, f"{D}9", 1, reflect=False)

    def batch_norm(self, x, name):
        mean, var = self.w[f"{name}.running_mean"], self.w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def resnet(self, x):
        first = f"{R}extract2.layers."
        x = F.relu(self.batch_norm(F.conv2d(x, self.w[f"{first}0.weight"], None, 2, 3), f"{first}1"))
        for layer, blocks in ((3, 3), (4, 4), (5, 6)):
            for i in range(blocks):
                name, stride = f"{first}{layer}.{i}", 2 if layer > 3 and i == 0 else 1
                y = F.conv2d(x, self.w[f"{name}.conv1.weight"], None, stride, 1)
                y = F.conv2d(F.relu(self.batch_norm(y, f"{name}.bn1")), self.w[f"{name}.conv2.weight"], None, 1, 1)
                if stride == 2:
                    shortcut = F.conv2d(x, self.w[f"{name}.downsample.0.weight"], None, 2)
                    x = self.batch_norm(shortcut, f"{name}.downsample.1")
                x = F.relu(self.batch_norm(y, f"{name}.bn2") + x)
        return x

    def describe(self, features, name):
        w1, b1, w2, b2 = (self.w[f"{R}{name}.{part}"] for part in ("w1", "b1", "w2", "b2"))
        features = features.flatten(2)
        hidden = torch.einsum("bi,ijd->bjd", features.amax(1), w1) + b1
        masks = torch.einsum("bjd,jid->bid", hidden, w2) + b2
        return F.normalize((features @ masks).flatten(1), dim=1)

    def embed(self, query, reference):
        return self.describe(self.resnet(query), "sa2"), self.describe(self.encode(reference)[-1], "sa1")


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


@pytest.mark.parametrize("words", ["--micro-batch 4", "--optim.sharpness 0.5", "--optim.compile true"])
def test_what_does_not_go_with_turns_is_refused_before_anything_is_loaded(words):
    with pytest.raises(UserError) as caught:
        check_recipe(settings(f"{SMALL} {words}"))
    option = words.split()[0]
    expected = f"cde trains retrieval, discriminator, generator in turns, which cannot be combined with {option}."
    assert caught.value.message == expected and "--model.generator false" in caught.value.remedy
    check_recipe(settings(f"{SMALL} {words} --model.generator false"))


@pytest.mark.parametrize("words, sizes", [("--no-polar", "24x48 and 32x32"), ("--fov 90", "24x12 and 24x48")])
def test_images_of_two_sizes_do_not_go_with_the_generator(words, sizes, tmp_path, capsys):
    assert run_command([*f"{SMALL} {words}".split(), "--out", str(tmp_path / "run")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error:")]
    assert f"these have {sizes}." in line and "--model.generator false" in line
    assert not (tmp_path / "run").exists()


def test_several_processes_are_refused_before_anything_is_loaded(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="cannot be combined with torchrun. Leave that out, or train without"):
        check_recipe(settings(SMALL))
    check_recipe(settings(f"{SMALL} --model.generator false"))


def run(folder, words=""):
    assert run_command([*f"{SMALL} {words}".split(), "--out", str(folder)]) == 0
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_twins_bfloat16_average_bank_and_clipping_go_with_the_generator(tmp_path):
    words = "--chsg l+s --optim.precision bf16 --optim.ema 0.9 --sampler hard --optim.max_grad_norm 1"
    results = run(tmp_path / "run", f"{words} --loss info_nce --optim.freeze discriminator --evaluation.every 0")
    assert results["mark"] == "" and results["recipe"]["augment"]["chsg"] == "l+s"
    losses = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["losses"]
    assert {"discriminator_loss", "generator_loss", "l1_loss"} < set(losses)
    assert np.isfinite([*losses.values()]).all()
    with Image.open(tmp_path / "run" / "made-synth-suburb.png") as sheet:
        assert sheet.width > sheet.height > 300


@pytest.mark.slow
@pytest.mark.parametrize("words", ["", "--model.generator false"])
def test_a_run_that_is_stopped_within_an_epoch_goes_on_bit_for_bit(words, tmp_path, monkeypatch):
    run(tmp_path / "straight", words)
    step = CrossViewTrainer.forward_and_backward

    def stopped(self):
        batch = step(self)
        self.stop_requested = self.epoch == 2 and self.iteration == 0
        return batch

    with monkeypatch.context() as context:
        context.setattr(CrossViewTrainer, "forward_and_backward", stopped)
        assert run_command([*f"{SMALL} {words}".split(), "--out", str(tmp_path / "broken")]) == 130
    assert run_command(["--resume", str(tmp_path / "broken")]) == 0
    one, two = (load_file(tmp_path / name / "last.safetensors") for name in ("straight", "broken"))
    assert one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    epochs = [
        [json.loads(line)["losses"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "broken")
    ]
    assert epochs[0] == epochs[1] and len(epochs[0]) == 2
    made = [(tmp_path / name / "made-synth-suburb.png").exists() for name in ("straight", "broken")]
    assert made == [not words] * 2
    results = json.loads((tmp_path / "broken" / "results.json").read_text())
    assert results["mark"] == ("without generator" if words else "")
