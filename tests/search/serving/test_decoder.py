"""A decoder that hangs, dies or wants all memory costs its photo, and nothing else."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import pytest
import torch
from hostile import image
from served import forked

from geodtr_plugin.search.photo_reader import PhotoReader
from geodtr_plugin.search.serving import decoder as module
from geodtr_plugin.search.serving.decoder import START, Decoder
from geodtr_plugin.search.serving.limits import Limits
from geodtr_plugin.utils.errors import UserError

LIMITS = Limits(seconds=5, decoding_bytes=2**28)


def resized(pixels: torch.Tensor) -> torch.Tensor:
    """Stand in for what resizes photos, with a fault for each width."""
    width = pixels.shape[-1]
    if width == 61:
        time.sleep(60)
    if width == 62:
        os.kill(os.getpid(), signal.SIGKILL)
    if width == 63:
        return torch.zeros(3, 2**30, dtype=torch.uint8)
    return pixels[:, :8, :8]


READER = partial(PhotoReader, on_load=resized)


@pytest.fixture(scope="module")
def decoder():
    with forked():
        decoder = Decoder(READER, LIMITS)
        yield decoder
        decoder.close()


def good(decoder: Decoder) -> bool:
    decoded = decoder.read(image("PNG", (64, 32)))
    return decoded.result.fault is None and decoded.result.pixels.shape == (3, 8, 8) and len(decoded.thumbnail) > 100


def test_a_decoder_that_hangs_is_replaced(decoder, monkeypatch):
    assert good(decoder)
    monkeypatch.setattr(decoder, "_limits", Limits(seconds=0.3))
    before = decoder._process.pid
    with pytest.raises(TimeoutError):
        decoder.read(image("PNG", (61, 32)))
    monkeypatch.setattr(decoder, "_limits", LIMITS)
    assert good(decoder) and decoder._process.pid != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_decoder_that_dies_is_replaced(decoder):
    assert "made its decoder stop" in decoder.read(image("PNG", (62, 32))).result.fault
    assert good(decoder)
    os.kill(decoder._process.pid, signal.SIGKILL)  # between two photos
    assert "made its decoder stop" in decoder.read(image("PNG", (64, 32))).result.fault
    assert good(decoder)


def test_memory_has_an_end(decoder):
    assert "needs too much memory" in decoder.read(image("PNG", (63, 32))).result.fault
    assert good(decoder)


def test_a_decoder_that_does_not_start_is_a_sentence():
    with forked(), pytest.raises(UserError, match="does not start"):
        decoder = Decoder(READER, Limits(decoding_bytes=-(2**50)))
        decoder._process.kill()
        decoder.wait()


@pytest.mark.slow
def test_a_process_of_its_own(monkeypatch):
    from geodtr_plugin.augmentations import ImageTransform

    monkeypatch.setattr(module, "START", START)  # and no fork of this one
    decoder = Decoder(partial(PhotoReader, on_load=ImageTransform(16, 24).on_load), Limits())
    assert decoder.read(image()).result.pixels.shape == (3, 16, 24)
    decoder.close()
