"""The authors' CDE by its description: names and shapes of its checkpoints, and what they compute."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

G, D, R = "generator_model_dict.", "discriminator_model_dict.model.", "retriebal_model_dict."


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
