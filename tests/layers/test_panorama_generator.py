"""The layers of adversarial training: spectral normalisation, self-attention, generator and discriminator."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from geodtr_plugin.layers.panorama_generator import PanoramaDecoder, PanoramaEncoder
from geodtr_plugin.layers.patch_discriminator import PatchDiscriminator
from geodtr_plugin.layers.self_attention import SelfAttention
from geodtr_plugin.layers.spectral import INITIAL_STD, gan_conv


def test_training_passes_bring_the_largest_singular_value_to_one():
    torch.manual_seed(0)
    conv, images = gan_conv(6, 10, 3), torch.randn(2, 6, 5, 5)
    kernel = conv.parametrizations.weight.original
    with torch.no_grad():
        kernel[0, 0] += 3  # as after some training
    for _ in range(40):
        conv(images)
    norm = torch.linalg.matrix_norm(conv.weight.flatten(1), 2)
    torch.testing.assert_close(norm, torch.ones(()), rtol=1e-4, atol=0)
    before = conv.eval().weight.clone()
    conv(images)
    assert torch.equal(conv.weight, before), "evaluation changes nothing"


def test_first_weights_are_those_of_pix2pix_with_or_without_normalisation():
    torch.manual_seed(0)
    plain, normalised = gan_conv(64, 128, 4, spectral=False), gan_conv(64, 128, 4)
    for kernel in (plain.weight, normalised.parametrizations.weight.original):
        assert kernel.std().item() == pytest.approx(INITIAL_STD, rel=0.02) and abs(kernel.mean()) < 1e-3
    assert not plain.bias.any() and not normalised.bias.any()


def test_singular_values_are_computed_in_full_precision_within_autocast():
    torch.manual_seed(0)
    conv, images = gan_conv(6, 10, 3).eval(), torch.randn(2, 6, 5, 5)
    full, weight = conv(images), conv.weight
    with torch.autocast("cpu", torch.bfloat16):
        low = conv(images)
        assert low.dtype == torch.bfloat16 and conv.train()(images).isfinite().all()
    torch.testing.assert_close(low.float(), full, rtol=0.05, atol=0.02)
    assert conv.parametrizations.weight[0].u.dtype == weight.dtype == torch.float32


def test_it_is_torchs_earlier_normalisation_in_training_and_evaluation():
    torch.manual_seed(0)
    ours, theirs = gan_conv(6, 10, 3), torch.nn.utils.spectral_norm(torch.nn.Conv2d(6, 10, 3, padding=1))
    with torch.no_grad():
        theirs.weight_orig.copy_(ours.parametrizations.weight.original)
        theirs.weight_u.copy_(ours.parametrizations.weight[0].u)
        theirs.weight_v.copy_(ours.parametrizations.weight[0].v)
        theirs.bias.zero_()
    images = torch.randn(2, 6, 5, 5)
    for mode in (True, True, False):
        found, expected = ours.train(mode)(images), theirs.train(mode)(images)
        torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    gradients = ours.parametrizations.weight.original.grad, theirs.weight_orig.grad
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)


def test_vectors_that_are_averages_serve():
    torch.manual_seed(0)
    conv, images = gan_conv(6, 10, 3).eval(), torch.randn(2, 6, 5, 5)
    before = conv(images)
    conv.parametrizations.weight[0].u.mul_(0.9)
    torch.testing.assert_close(conv(images), before)


def test_self_attention_equals_a_loop_and_begins_as_the_identity():
    torch.manual_seed(0)
    layer, x = SelfAttention(16).eval(), torch.randn(2, 16, 4, 6)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.gain += 0.7
        found = layer(x)
    query, key, value = layer.query(x), F.max_pool2d(layer.key(x), 2), F.max_pool2d(layer.value(x), 2)
    for image, row, column in ((0, 0, 0), (1, 3, 5), (1, 2, 1)):
        at = query[image, :, row, column]
        scores = torch.stack([at @ key[image, :, r, c] for r in range(2) for c in range(3)]).softmax(0)
        mean = sum(scores[3 * r + c] * value[image, :, r, c] for r in range(2) for c in range(3))
        expected = x[image, :, row, column] + 0.7 * layer.out(mean[None, :, None, None])[0, :, 0, 0]
        torch.testing.assert_close(found[image, :, row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size, last", [((32, 88), (4, 11)), ((33, 89), (4, 11)), ((24, 40), (3, 5))])
@torch.no_grad()
def test_the_painted_image_has_the_size_of_the_tile(size, last):
    encoder, decoder = PanoramaEncoder(4, 24), PanoramaDecoder(4, 24)
    maps = encoder.maps(torch.randn(2, 3, *size))
    assert [m.shape[1] for m in maps] == [8, 16, 24, 24] and maps[-1].shape[2:] == last
    painted = decoder(maps, size)
    assert painted.shape == (2, 3, *size) and painted.abs().max() <= 1


@torch.no_grad()
def test_the_discriminator_judges_patches():
    discriminator = PatchDiscriminator(6, 8).eval()
    images = torch.randn(1, 6, 112, 616)
    logits = discriminator(images)
    assert logits.shape == (1, 1, 12, 75)
    images[..., 100:] += 1  # beyond the 70 pixels of the first patches, as self-attention begins as the identity
    changed = (discriminator(images) - logits).abs().amax((0, 1, 2))
    assert changed[:3].max() == 0 and changed[30:].max() > 0
