"""NetVLAD: local descriptors summed up as residuals to learned centres."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..utils.errors import UserError

# as the authors start: locations drawn from each image, descriptors altogether, rounds of k-means
LOCATIONS_PER_IMAGE, DESCRIPTORS, ROUNDS = 100, 50_000, 100


class NetVLAD(nn.Module):
    """Soft-assigned residuals of unit-length local descriptors x_i to K centres c_k (Arandjelovic et al., CVPR 2016).

    V_k = sum over i of a_ik (x_i - c_k), a_i = softmax of (w_k x_i + b_k) over k; every V_k is brought to unit length,
    then all of them together. It is computed as A^T X - (sum of A)^T C, so that no residual is stored: memory grows
    with K + D for each location and not with K * D.

    Centres and assignment start at random, N(0, 1 / D), as CVM-Net's; `init_kmeans` starts them as NetVLAD's.

    Args:
        channels: length D of the local descriptors.
        clusters: number of centres K.
        bias: give the assignment an offset b_k (CVM-Net); without it all b_k are 0 (NetVLAD).
    """

    def __init__(self, channels: int, clusters: int = 64, bias: bool = False):
        super().__init__()
        self.assign = nn.Conv2d(channels, clusters, 1, bias=bias)
        self.centroids = nn.Parameter(torch.empty(clusters, channels))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=channels**-0.5)
        self.embedding_size = clusters * channels

    def forward(self, features: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map features `[B, D, h, w]` to fp32 `[B, K * D]` of unit norm, cluster after cluster.

        Args:
            features: local descriptors of any length.
            weights: how much each location counts, `[B, 1, h, w]`; None: all the same.
        """
        with torch.autocast(features.device.type, enabled=False):
            x = normalize(features.float(), dim=1)
            shares = self.assign(x).flatten(2).softmax(dim=1)  # [B, K, h * w]
            if weights is not None:
                shares = shares * weights.float().flatten(2)
            vlad = shares @ x.flatten(2).transpose(1, 2) - shares.sum(dim=2, keepdim=True) * self.centroids
            return normalize(normalize(vlad, dim=2).flatten(1), dim=1)

    @torch.no_grad()
    def init_kmeans(self, descriptors: Tensor, seed: int = 43) -> None:
        """Start from clusters of local descriptors, as NetVLAD does.

        The centres become those of k-means; w_k has the direction of c_k and the length alpha, so that a descriptor's
        best cluster gets on (geometric) average 100 times the share of its second best.

        Args:
            descriptors: `[N, D]` of any length, a sample over images and locations; the authors take 50,000.
            seed: of the first centres.

        Raises:
            UserError: there are fewer descriptors than clusters, or clusters than two.
        """
        clusters = len(self.centroids)
        if clusters < 2 or len(descriptors) < clusters:
            raise UserError(f"{len(descriptors)} descriptors cannot start {clusters} clusters: give more images.")
        x = normalize(descriptors.detach().float().cpu(), dim=1)
        centres = _kmeans(x, clusters, seed)
        directions = normalize(centres, dim=1)
        best, second = (x @ directions.T).topk(2, dim=1).values.unbind(dim=1)
        alpha = -math.log(0.01) / (best - second).mean()
        self.centroids.copy_(centres)
        self.assign.weight.copy_((alpha * directions)[:, :, None, None])
        if self.assign.bias is not None:
            self.assign.bias.zero_()

    def extra_repr(self) -> str:
        return f"clusters={self.centroids.shape[0]}, channels={self.centroids.shape[1]}"


def sample_locations(features: Tensor, number: int = LOCATIONS_PER_IMAGE, seed: int = 43) -> Tensor:
    """Draw descriptors `[B * n, D]` at n <= `number` random locations of each image's features `[B, D, h, w]`."""
    generator = torch.Generator().manual_seed(seed)
    images, _, height, width = features.shape
    order = torch.rand(images, height * width, generator=generator).argsort(dim=1)[:, :number].to(features.device)
    rows = features.flatten(2).transpose(1, 2)
    return rows.gather(1, order[:, :, None].expand(-1, -1, rows.shape[2])).flatten(0, 1)


def _kmeans(x: Tensor, clusters: int, seed: int) -> Tensor:
    """Return the centres `[clusters, D]` of rows `[N, D]`."""
    import faiss

    kmeans = faiss.Kmeans(
        x.shape[1], clusters, niter=ROUNDS, seed=seed, min_points_per_centroid=1, max_points_per_centroid=len(x)
    )
    kmeans.train(x.numpy())
    return torch.from_numpy(kmeans.centroids.copy())
