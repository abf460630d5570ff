"""The embedding bank: what was written last, and a state that brings it back."""

from __future__ import annotations

import pickle

import pytest
import torch

from geodtr_plugin.samplers import EmbeddingBank


def test_the_bank_keeps_what_was_written_last():
    bank = EmbeddingBank(6)
    assert bank.query is None and bank.reference is None
    first, second = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4).to(torch.bfloat16)
    bank.write([5, 0, 2], first, 2 * first)
    bank.write(torch.tensor([2, 3, 5]), second, second)
    assert bank.query.dtype == bank.reference.dtype == torch.float32 and not bank.query.requires_grad
    assert torch.equal(bank.query[[2, 3, 5]], second.float())
    assert torch.equal(bank.query[0], first[1]) and torch.equal(bank.reference[0], 2 * first[1])
    assert bank.query[[1, 4]].isnan().all() and bank.reference[[1, 4]].isnan().all()
    with torch.no_grad():
        first.zero_()
    assert bank.query[0].abs().sum() > 0  # a copy


def test_a_batch_without_rows_tells_the_size():
    bank = EmbeddingBank(2)
    bank.write([], torch.ones(0, 3), torch.ones(0, 3))
    assert bank.query.shape == bank.reference.shape == (2, 3) and bank.query.isnan().all()


def test_a_state_brings_the_bank_back(tmp_path):
    bank, empty = EmbeddingBank(4), EmbeddingBank(4).state_dict()
    bank.write([1, 2], torch.randn(2, 3), torch.randn(2, 3))
    torch.save(bank.state_dict(), tmp_path / "bank.pt")
    other = EmbeddingBank(4)
    other.load_state_dict(torch.load(tmp_path / "bank.pt", weights_only=True))
    again = pickle.loads(pickle.dumps(bank))
    for copy in (other, again):
        assert torch.allclose(copy.query, bank.query, rtol=0, atol=0, equal_nan=True)
        copy.write([0], torch.zeros(1, 3), torch.zeros(1, 3))
    assert bank.query[0].isnan().all()
    bank.load_state_dict(empty)
    assert bank.query is None
    with pytest.raises(ValueError, match="4 query rows, this bank 5"):
        EmbeddingBank(5).load_state_dict(other.state_dict())


def test_writes_that_do_not_fit_are_errors():
    bank = EmbeddingBank(4)
    with pytest.raises(ValueError, match="2 rows came with query embeddings"):
        bank.write([0, 1], torch.zeros(3, 2), torch.zeros(3, 2))
    for rows in ([4], [-1]):
        with pytest.raises(IndexError, match="rows are 0 to 3"):
            bank.write(rows, torch.zeros(1, 2), torch.zeros(1, 2))
    bank.write([0], torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="reference embeddings here have 2 entries, not 3"):
        bank.write([0], torch.zeros(1, 2), torch.zeros(1, 3))
