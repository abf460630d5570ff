"""Authors' weights of TensorFlow, read without TensorFlow: {name of a variable: array in TensorFlow's layout}.

A method says `author_framework = "tensorflow"`, and its `author_key` names the variable of each of our tensors. What
order the axes of an array have follows from the type of our module that it goes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..layers.vgg16 import LAYERS
from ..utils.errors import UserError

# where the axes of our tensors are in TensorFlow's arrays, by module and tensor; tensors not named here, such as those
# of the spatial embedding [in, hidden, heads], have the same axes in both
AXES: dict[type[nn.Module], dict[str, tuple[int, ...]]] = {
    nn.Conv2d: {"weight": (3, 2, 0, 1)},  # [height, width, in, out] -> [out, in, height, width]
    nn.ConvTranspose2d: {"weight": (3, 2, 0, 1)},  # [height, width, out, in] -> [in, out, height, width]
    nn.Linear: {"weight": (1, 0)},  # [in, out] -> [out, in]
}
BATCH_NORM = {  # the names of a batch normalisation's variables; ours counts batches, too
    "weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance",
    "num_batches_tracked": None,
}  # fmt: skip
PARAMETERS = {"weight": "weights", "bias": "biases"}  # as the authors name those of convolutions and linear maps
NUMBERS = "biuf"  # kinds of numpy's types: booleans, integers, floating point


def vgg16_variable(scope: str, key: str) -> str:
    """Return the variable of a tensor of our `VGG16`: ("VGG_grd", "2.bias") -> "VGG_grd/conv1_2/biases"."""
    index, parameter = key.split(".")
    return f"{scope}/{LAYERS[int(index)]}/{PARAMETERS[parameter]}"


def as_tensors(arrays: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return arrays of numbers as tensors of their own memory; what else is among them, as text, is passed over.

    Raises:
        UserError: torch has no such type of numbers.
    """
    return {name: _as_tensor(name, np.asarray(x)) for name, x in arrays.items() if np.asarray(x).dtype.kind in NUMBERS}


def _as_tensor(name: str, array: np.ndarray) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise UserError(f"{name} holds numbers of the type {array.dtype}.", "Save it as float32.") from error


def variables(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's variables among those of a checkpoint, without the `:0` that TensorFlow gives their names.

    Left out is what belongs to training: slots of an optimizer, which lie below the variable that they are for
    (`V/Adam_1` beside `V`), and single numbers (steps, powers of Adam's betas), as no weight is one.
    """
    named = {name.removesuffix(":0"): tensor for name, tensor in tensors.items()}
    return {name: x for name, x in named.items() if x.ndim and name.rpartition("/")[0] not in named}


def to_our_layout(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors in TensorFlow's layout, under the names of ours, with the axes and channels that ours have.

    The first convolution of each tower gets its first three channels turned round: TensorFlow's networks see blue,
    green, red.
    """
    ours = {key: _with_our_axes(model, key, tensor) for key, tensor in tensors.items()}
    for key in _first_convolutions(model) & set(ours):
        if ours[key].ndim == 4 and ours[key].shape[1] >= 3:
            ours[key] = torch.cat([ours[key][:, :3].flip(1), ours[key][:, 3:]], dim=1)
    return ours


def _with_our_axes(model: nn.Module, key: str, tensor: Tensor) -> Tensor:
    owner, _, name = key.rpartition(".")
    module = model.get_submodule(owner)
    for kind, axes in AXES.items():
        if isinstance(module, kind) and len(axes.get(name, ())) == tensor.ndim:  # others do not fit, and are told of
            return tensor.permute(axes[name]).contiguous()
    return tensor


def _first_convolutions(model: nn.Module) -> set[str]:
    """Return the names of the weights that see the images."""
    firsts = set()
    for tower in ("query_tower", "reference_tower"):
        named = model.get_submodule(tower).named_modules()
        firsts |= {f"{tower}.{name}.weight" for name in [n for n, m in named if isinstance(m, nn.Conv2d)][:1]}
    return firsts
