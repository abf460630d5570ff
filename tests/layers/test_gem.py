import pytest
import torch

from geodtr_plugin.layers import GeM


def test_the_mean_equals_a_loop():
    features = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    pooled = GeM(p=3.0)(features)
    for b in range(2):
        for c in range(3):
            values = [value**3 for value in features[b, c].flatten().tolist()]
            assert pooled[b, c].item() == pytest.approx((sum(values) / 20) ** (1 / 3), rel=1e-5)


def test_the_exponent_leads_from_the_mean_to_the_maximum():
    features = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(GeM(1.0)(features), features.mean(dim=(2, 3)))
    torch.testing.assert_close(GeM(80.0)(features), features.amax(dim=(2, 3)), rtol=0.05, atol=0)


def test_the_exponent_is_learned_and_stays_finite_where_nothing_responds():
    pool = GeM()
    features = torch.zeros(2, 3, 4, 5)
    features[0, 0, 0] = torch.linspace(0.5, 2, 5)
    features.requires_grad_()
    pool(features).sum().backward()
    assert pool.p.item() == 3 and pool.p.grad.isfinite() and pool.p.grad != 0
    assert features.grad.isfinite().all() and features.grad[0, 0, 0].min() > 0


def test_bfloat16_features_are_pooled_in_fp32():
    features = 60 * torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        low = GeM()(features.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, GeM()(features.bfloat16().float()))


def test_an_exponent_below_zero_is_refused():
    with pytest.raises(ValueError, match="must be above 0"):
        GeM(p=0)
