"""Views: PIL's antialiased resize in uint8, the polar transform on the device, one scale for the network."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from geodtr_plugin.augmentations import ImageTransform, PolarTransform
from geodtr_plugin.datasets.base import ImageDataset
from geodtr_plugin.datasets.images import ImageFiles
from geodtr_plugin.utils.errors import UserError
from geodtr_plugin.utils.loading import ReportingLoader


def stored(height: int, width: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0] * 255).byte()


def test_on_load_resizes_as_pil_does():
    image = stored(224, 1232)
    loaded = ImageTransform(122, 671).on_load(image)
    theirs = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((671, 122), Image.Resampling.BILINEAR)
    assert loaded.dtype == torch.uint8 and loaded.shape == (3, 122, 671)
    assert (loaded.int() - pil_to_tensor(theirs).int()).abs().max() <= 1


def test_on_load_keeps_a_polar_tile_in_full_resolution():
    tile = stored(160, 160)
    assert ImageTransform(12, 64, polar=True).on_load(tile) is tile
    with pytest.raises(ValueError, match="square tile, not 80x160"):
        ImageTransform(12, 64, polar=True).on_load(stored(80, 160))


def test_large_polar_tiles_are_reduced_before_they_are_unrolled():
    view, tile = ImageTransform(12, 64, polar=True, tile=40), stored(160, 160)
    theirs = Image.fromarray(tile.permute(1, 2, 0).numpy()).resize((40, 40), Image.Resampling.BILINEAR)
    loaded = view.on_load(tile)
    assert loaded.shape == (3, 40, 40) and (loaded.int() - pil_to_tensor(theirs).int()).abs().max() <= 1
    assert torch.equal(view.on_device(tile[None]), view.on_device(loaded[None]))
    assert view.on_load(loaded) is loaded and view.on_load(loaded[:, :8, :8]).shape == (3, 8, 8)  # never enlarged
    with pytest.raises(ValueError, match="square tile, not 80x160"):
        view.on_load(stored(80, 160))
    assert ImageTransform.from_config(view.to_config()) == view


def test_a_data_set_names_the_tile_that_is_not_square(tmp_path):
    Image.new("RGB", (12, 8)).save(tmp_path / "wide.png")
    tiles = ImageFiles(tmp_path, ["wide.png"])
    said = "wide.png: The polar transform needs a square tile, not 8x12 pixels. Crop it to a square, .* --no-polar"
    with pytest.raises(UserError, match=said):
        next(iter(ReportingLoader(ImageDataset(tiles, ImageTransform(12, 64, polar=True)))))


def test_on_device_scales_to_the_unit_range():
    images = stored(16, 32)[None]
    view = ImageTransform(16, 32)
    assert torch.equal(view.on_device(images), images / 255)
    assert torch.equal(view.on_device(images.double() / 255), (images.double() / 255).float())


def test_on_device_transforms_to_polar():
    tiles = stored(64, 64)[None]
    unrolled = ImageTransform(12, 40, polar=True).on_device(tiles)
    assert unrolled.dtype == torch.float32
    torch.testing.assert_close(unrolled, PolarTransform(12, 40)(tiles / 255))


def test_images_of_another_size_are_resized_on_the_device():
    image = stored(64, 96)
    view = ImageTransform(16, 24)
    as_loaded = view.on_device(view.on_load(image)[None])
    for batch in (image[None], image[None] / 255):
        resized = view.on_device(batch)
        assert resized.shape == (1, 3, 16, 24) and (resized - as_loaded).abs().max() <= 1.01 / 255


def test_a_view_survives_its_config_and_the_way_to_a_worker():
    view = ImageTransform(122, 671, polar=True)
    assert ImageTransform.from_config(json.loads(json.dumps(view.to_config()))) == view
    assert pickle.loads(pickle.dumps(view)) == view
    assert view != ImageTransform(122, 671)
