"""What a GPU has to start in a training step of GeoDTR+: operations that are no views, ours and plain PyTorch's.

Small batches wait for the start of kernels more than for what these do, so that their number is the time. It is counted
on torch's `meta` device, where tensors have a shape and nothing else: on any machine, along the path that a GPU takes.
What makes the host wait for a GPU either raises there (reading a number) or is listed (copying without `non_blocking`).
Casts of autocast, clipping and the optimizer are not counted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision import models, transforms

from geodtr_plugin import CHSG, CounterfactualLoss, SoftMarginTripletLoss, create_model
from geodtr_plugin.augmentations import BatchTransform, ImageTransform
from geodtr_plugin.losses import InfoNCELoss

from .bench import Bench
from .table import Row

META = torch.device("meta")
PAIRS = (4, 32, 256)
GROUND, TILE, DIMENSION = (122, 671), (256, 256), 3072
SOME = 8  # pairs of which the images are changed one by one; more take as much longer as they are
NOTES = {
    "augmentation, tiles": "the peer: torchvision's transforms, image by image, without layouts",
    "network": "forward and backward; the peer: torchvision's two trunks alone",
    "soft margin": "forward and backward",
    "InfoNCE instead": "forward and backward",
    "counterfactual loss": "both roles, forward and backward",
}
NOTHING_STARTS = {"aten::detach", "aten::_unsafe_view", "aten::empty", "aten::empty_strided", "aten::empty_like",
                  "aten::new_empty"}  # fmt: skip


class Launches(TorchDispatchMode):
    """A context that counts the operations on a device by name, and lists copies to it for which a host would wait."""

    def __init__(self, device: torch.device = META) -> None:
        super().__init__()
        self.device = device
        self.names: Counter[str] = Counter()
        self.waits: list[str] = []

    @property
    def total(self) -> int:
        """Operations so far."""
        return sum(self.names.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [leaf.device for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        made = [leaf.device for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        name = func._schema.name
        if self.device in given + made and not func.is_view and name not in NOTHING_STARTS:
            self.names[name] += 1
            # an asynchronous copy carries its flag as a keyword, or as the third argument of copy_
            sent = "copy" in name and any(device != self.device for device in given)
            if sent and not ((kwargs or {}).get("non_blocking") or True in args[2:]):
                self.waits.append(name)
        return result


def count(work: Callable[[], object], device: torch.device = META) -> Launches:
    """Return what `work` starts on a device; on `meta` autocast, which does not know that device, changes nothing."""
    autocast, tensor, launches = torch.autocast, torch.tensor, Launches(device)

    def no_autocast(device_type: str, *arguments: Any, **words: Any) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if device_type == "meta" else autocast(device_type, *arguments, **words)

    def seen_tensor(data: Any, *arguments: Any, **words: Any) -> Tensor:  # torch shows no copy here, but makes one
        made = tensor(data, *arguments, **words)
        launches.waits += ["aten::tensor"] * (made.device == META)
        return made

    with mock.patch.multiple(torch, autocast=no_autocast, tensor=seen_tensor), launches:
        work()
    return launches


def measure(bench: Bench) -> Iterator[Row]:
    """Yield the operations of each part for several numbers of pairs, which CHSG doubles."""
    by_image = count(plain_augmentation(SOME)).total
    network, trunks = (count(part(PAIRS[0])).total for part in (our_network, plain_trunks))
    for pairs in PAIRS:
        tiles, polar = (count(our_augmentation(pairs, polar)).total for polar in (False, True))
        table = {  # ours, and plain PyTorch's
            "augmentation, tiles": (tiles, by_image * pairs // SOME),
            "augmentation, polar": (polar, None),
            "network": (network, trunks),
            "soft margin": (count(soft_margin(pairs)).total, count(plain_soft_margin(pairs)).total),
            "InfoNCE instead": (count(info_nce(pairs)).total, count(plain_info_nce(pairs)).total),
            "counterfactual loss": tuple(2 * count(f(pairs)).total for f in (counterfactual, plain_counterfactual)),
        }
        for part, (ours, peer) in table.items():
            yield Row(f"launches: {part}", f"{pairs} pairs", ours, peer, unit="", note=NOTES.get(part, ""))


def our_augmentation(pairs: int, polar: bool) -> Callable[[], object]:
    """Return what makes network input of a batch: CHSG with layouts and colours, as a run does it after its first."""
    reference = ImageTransform(*GROUND, polar=True) if polar else ImageTransform(*TILE)
    transform = BatchTransform(ImageTransform(*GROUND), reference, CHSG.variant("l+s", polar=polar))
    transform(*_images(2, "cpu"))  # of a first batch the range is looked at
    transform.to(META)
    work = lambda: transform(*_images(pairs, "meta"))  # noqa: E731
    count(work)  # and tables are sent
    return work


def plain_augmentation(pairs: int) -> Callable[[], object]:
    """Return the same by torchvision's transforms, one image after another, without layouts."""
    chain = transforms.Compose([
        transforms.ColorJitter(0.3, 0.3, 0.3), transforms.RandomGrayscale(0.2),
        transforms.RandomPosterize(bits=4, p=0.2), transforms.GaussianBlur(kernel_size=(1, 5), sigma=(0.1, 5)),
        transforms.ConvertImageDtype(torch.float32),
    ])  # fmt: skip
    return lambda: [torch.stack([chain(image) for image in images.repeat(2, 1, 1, 1)])
                    for images in _images(pairs, "meta")[:2]]  # fmt: skip


def our_network(pairs: int) -> Callable[[], object]:
    """Return the forward and backward pass of GeoDTR+ with its counterfactual branch."""
    with META:
        model = create_model("geodtr_plus", query_size=GROUND, reference_size=TILE, polar=False,
                             pretrained=False).train()  # fmt: skip
    ground, aerial = (torch.empty(2 * pairs, 3, *size, device=META) for size in (GROUND, TILE))
    return lambda: sum(part.sum() for part in model(ground, aerial, counterfactual=True) if part is not None).backward()


def plain_trunks(pairs: int) -> Callable[[], object]:
    """Return the forward and backward pass of two ConvNeXt-T of torchvision, without GeoDTR's heads."""
    with META:
        trunks = nn.ModuleList(models.convnext_tiny(weights=None).features for _ in range(2)).train()
    images = [torch.empty(2 * pairs, 3, *size, device=META) for size in (GROUND, TILE)]
    return lambda: sum(trunk(x).sum() for trunk, x in zip(trunks, images)).backward()


def soft_margin(pairs: int) -> Callable[[], object]:
    """Return the loss of a CHSG batch and its gradient, as a run knows its batches: row by row."""
    loss, labels = SoftMarginTripletLoss(paired_rows=True), torch.arange(2 * pairs, device=META)
    query, reference = _embeddings(pairs)
    return lambda: loss(query, labels, ref_emb=reference, ref_labels=labels).backward()


def plain_soft_margin(pairs: int) -> Callable[[], object]:
    """Return the paper's formula in torch's words, and its gradient by autograd."""
    query, reference = _embeddings(pairs)

    def work() -> None:
        similarities = F.normalize(query) @ F.normalize(reference).T
        own = similarities.diagonal()
        there, back = (F.softplus(20 * (similarities - best)) for best in (own[:, None], own))
        others = ~torch.eye(len(query), dtype=torch.bool, device=META)
        ((there + back) * others).sum().div(2 * len(query) * (len(query) - 1)).backward()

    return work


def info_nce(pairs: int) -> Callable[[], object]:
    """Return the loss of Sample4Geo and its gradient."""
    loss, labels = InfoNCELoss().to(META), torch.arange(2 * pairs, device=META)
    query, reference = _embeddings(pairs)
    return lambda: loss(query, labels, ref_emb=reference, ref_labels=labels).backward()


def plain_info_nce(pairs: int) -> Callable[[], object]:
    """Return the same in torch's words, for one positive each."""
    query, reference = _embeddings(pairs)
    scale = torch.empty((), device=META, requires_grad=True)

    def work() -> None:
        logits = scale.exp() * F.normalize(query) @ F.normalize(reference).T
        own = torch.arange(len(query), device=META)
        there, back = (F.cross_entropy(x, own, label_smoothing=0.1) for x in (logits, logits.T))
        ((there + back) / 2).backward()

    return work


def counterfactual(pairs: int) -> Callable[[], object]:
    """Return the counterfactual loss of one role and its gradient."""
    embeddings, others = _embeddings(pairs)
    return lambda: CounterfactualLoss()(embeddings, ref_emb=others).backward()


def plain_counterfactual(pairs: int) -> Callable[[], object]:
    """Return the same in torch's words."""
    embeddings, others = _embeddings(pairs)
    return lambda: F.softplus(-10 * (1 - F.cosine_similarity(embeddings, others))).mean().backward()


def _embeddings(pairs: int) -> tuple[Tensor, ...]:
    return tuple(torch.empty(2 * pairs, DIMENSION, device=META, requires_grad=True) for _ in range(2))


def _images(pairs: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    query, reference = (torch.zeros(pairs, 3, *size, dtype=torch.uint8, device=device) for size in (GROUND, TILE))
    return query, reference, torch.arange(pairs, device=device)
