"""PCA with whitening against its definition, in both of its forms, and its state."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin.layers import PCAWhitening
from geodtr_plugin.utils.errors import UserError


def definition(rows, x, output):
    """diag(1 / sqrt(lambda)) U^T (x - mean) from the whole covariance matrix, in float64."""
    rows, x = rows.double().numpy(), x.double().numpy()
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    keep = np.argsort(values)[::-1][:output]
    y = (x - rows.mean(0)) @ vectors[:, keep] / np.sqrt(values[keep])
    return F.normalize(torch.from_numpy(y), dim=1).float()


def spread(n, size):
    """Rows of unequal variances and a mean away from 0."""
    return torch.randn(n, size) * torch.linspace(2, 0.2, size) @ torch.linalg.qr(torch.randn(size, size))[0] + 0.5


@pytest.mark.parametrize("n, size, output", [(300, 20, 8), (40, 120, 16), (30, 5000, 29)])  # the last two are dual
def test_it_equals_the_definition(n, size, output):
    rows = torch.randn(n, size) + 0.5 if size > 1000 else spread(n, size)
    x = rows[:10] + 0.1 * torch.randn(10, size)
    ours = PCAWhitening(size, output).fit(rows)(x)
    assert ours.shape == (10, output)
    if size > 1000:  # the covariance would be large: its eigenvectors from the singular ones
        _, s, v = torch.linalg.svd(rows.double() - rows.double().mean(0), full_matrices=False)
        y = (x.double() - rows.double().mean(0)) @ v[:output].T / s[:output]
        theirs = F.normalize(y, dim=1).float()
    else:
        theirs = definition(rows, x, output)
    signs = (ours * theirs).sum(0).sign()  # a direction may come out either way round
    torch.testing.assert_close(ours * signs, theirs, rtol=0, atol=1e-4)


def test_the_fitted_rows_come_out_white():
    rows, pca = spread(500, 12), PCAWhitening(12, 6)
    pca.fit(rows)
    white = F.linear(rows, pca.weight, pca.bias)
    torch.testing.assert_close(white.mean(0), torch.zeros(6), rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(6), rtol=0, atol=1e-3)
    torch.testing.assert_close(pca(rows).norm(dim=1), torch.ones(500))


def test_until_it_is_fitted_it_only_normalises():
    pca, x = PCAWhitening(12, 6), torch.randn(3, 12)
    assert torch.equal(pca(x), F.normalize(x, dim=1)) and pca.embedding_size == 12
    pca.fit(spread(50, 12))
    assert pca(x).shape == (3, 6) and pca.embedding_size == 6


def test_the_state_dict_tells_whether_it_is_fitted():
    fitted, x = PCAWhitening(12, 6).fit(spread(50, 12)), torch.randn(3, 12)
    other = PCAWhitening(12, 6)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(x), fitted(x)) and torch.equal(copy.deepcopy(fitted)(x), fitted(x))
    other.load_state_dict(PCAWhitening(12, 6).state_dict())
    assert other(x).shape == (3, 12)


def test_a_file_of_the_authors_is_the_same_projection():
    """OpenIBL writes U [D, k], lams [k] and mu [D, 1]."""
    rows, x = spread(60, 12), torch.randn(3, 12)
    centred = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / 59)
    pca = PCAWhitening(12, 6).fill(vectors.flip(1)[:, :8], values.flip(0)[:8], rows.mean(0)[:, None])
    ours, theirs = pca(x), definition(rows, x, 6)
    torch.testing.assert_close(ours * (ours * theirs).sum(0).sign(), theirs, rtol=0, atol=1e-3)


def test_variances_have_a_floor():
    pca = PCAWhitening(4, 2).fill(torch.eye(4), torch.tensor([1.0, 0.0]), torch.zeros(4))
    assert pca.weight.isfinite().all()
    assert pca.weight[1, 1].item() == pytest.approx(1e-9**-0.5)


def test_faults_are_sentences(tmp_path):
    with pytest.raises(ValueError, match="keeps 13 of 12"):
        PCAWhitening(12, 13)
    with pytest.raises(UserError, match="6 images do not fix 6 components"):
        PCAWhitening(12, 6).fit(torch.randn(6, 12))
    with pytest.raises(ValueError, match="have 11 entries; this PCA is for 12"):
        PCAWhitening(12, 6).fit(torch.randn(50, 11))
    with pytest.raises(ValueError, match="needs 12 rows and 6 columns at least"):
        PCAWhitening(12, 6).fill(torch.eye(4), torch.ones(4), torch.zeros(4))
    (tmp_path / "pca.h5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="pip install h5py|is no PCA file"):
        PCAWhitening(12, 6).fill_from(tmp_path / "pca.h5")
