"""CHSG in a plain loop: a few steps of a network that knows nothing of this package."""

from __future__ import annotations

import torch

from geodtr_plugin import CHSG, SoftMarginTripletLoss


def test_a_plain_loop_learns_with_twins():
    torch.manual_seed(0)
    towers = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(32)) for _ in range(2)]
    ground, aerial = torch.rand(16, 3, 8, 16), torch.rand(16, 3, 8, 8)
    chsg, loss_func, losses = CHSG(), SoftMarginTripletLoss(), []
    optimizer = None
    for _ in range(25):
        images = chsg(ground, aerial)
        query, reference = (tower(view) for tower, view in zip(towers, images[:2]))
        labels = images[2]
        optimizer = optimizer or torch.optim.AdamW([p for tower in towers for p in tower.parameters()], lr=3e-3)
        loss = loss_func(query, labels, ref_emb=reference, ref_labels=labels.clone())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(labels) == 32 and sum(losses[-5:]) < 0.9 * sum(losses[:5])
