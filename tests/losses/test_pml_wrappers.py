"""PML's wrappers around our losses compute what they say, once they are told their names."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.losses import CrossBatchMemory, SelfSupervisedLoss
from pytorch_metric_learning.utils.loss_and_miner_utils import get_all_pairs_indices

from geodtr_plugin.losses import HERLoss, InfoNCELoss, SARELoss, SoftMarginTripletLoss


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    query, reference = (torch.randn(6, 8, generator=generator) for _ in range(2))
    return query, reference, torch.arange(6) + 6 * seed


@pytest.mark.parametrize("kind", [SoftMarginTripletLoss, InfoNCELoss, SARELoss, HERLoss])
def test_a_memory_of_references_is_a_larger_gallery(kind):
    class Memory(CrossBatchMemory):
        @staticmethod
        def supported_losses():
            return [kind.__name__]

    memory, plain, kept = Memory(kind(), 8, memory_size=32), kind(), []
    aerial = torch.tensor([False] * 6 + [True] * 6)
    for seed in range(3):
        query, reference, places = batch(seed)
        kept.append((reference, places))
        loss = memory(torch.cat([query, reference]), torch.cat([places, places]), enqueue_mask=aerial)
        gallery, labels = (torch.cat(column) for column in zip(*kept))
        pairs = get_all_pairs_indices(places, labels)  # from queries to references alone
        torch.testing.assert_close(loss, plain(query, places, pairs, ref_emb=gallery, ref_labels=labels))


@pytest.mark.parametrize("kind", [SoftMarginTripletLoss, InfoNCELoss, SARELoss, HERLoss])
def test_two_views_of_one_batch(kind):
    class TwoViews(SelfSupervisedLoss):
        @staticmethod
        def supported_losses():
            return [kind.__name__]

    query, reference, places = batch(0)
    expected = kind()(query, places, ref_emb=reference, ref_labels=places.clone())
    torch.testing.assert_close(TwoViews(kind(), symmetric=False)(query, reference), expected)
