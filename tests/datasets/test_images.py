from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from trees import save_jpeg, smooth_noise

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.datasets import ImageArray, ImageDataset, ImageFiles
from geodtr_plugin.datasets.images import Names
from geodtr_plugin.utils.errors import DatasetCorruptError, DatasetNotFoundError


@pytest.fixture
def jpegs(tmp_path):
    """Three pictures, 40 x 64; the names of two begin as an option and as a hidden file would."""
    names = ["-a_grdView.jpg", "_b_grdView.jpg", "c.jpg"]
    for place, name in enumerate(names):
        save_jpeg(tmp_path / "photos" / name, smooth_noise("ground", place, 40, 64))
    return ImageFiles(tmp_path, [f"photos/{name}" for name in names])


def test_names_come_back_as_they_went_in():
    texts = ["", "plain", "-dash", "Zürich/北.jpg"]
    names = Names(texts)
    assert list(names) == texts
    assert (names[-1], names[1], len(names)) == (texts[-1], texts[1], 4)
    assert list(pickle.loads(pickle.dumps(names))) == texts
    with pytest.raises(IndexError):
        names[4]


def test_92802_names_pickle_to_little_more_than_their_text():
    paths = [f"ANU_data_test/satview_polish/{i:022d}_satView_polish.jpg" for i in range(92_802)]
    assert len(pickle.dumps(Names(paths))) < sum(map(len, paths)) + 8 * len(paths) + 1000


def test_nothing_is_opened_before_it_is_read(tmp_path):
    images = ImageFiles(tmp_path / "nowhere", ["a.jpg"])
    assert (len(images), images.ids[0]) == (1, "a")
    with pytest.raises(DatasetNotFoundError, match="Image 0 of 1.*a.jpg"):
        images.read(0)


def test_a_jpeg_is_read_as_it_was_painted(jpegs):
    image = jpegs.read(1)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 40, 64))
    painted = torch.from_numpy(smooth_noise("ground", 1, 40, 64).copy()).permute(2, 0, 1)
    assert (image.int() - painted.int()).abs().max() < 16
    assert list(jpegs.ids) == ["-a_grdView", "_b_grdView", "c"]


def test_the_file_of_an_image_is_known_through_every_selection(jpegs):
    assert jpegs.take([2, 0]).take([1]).path(0) == jpegs.path(0) == jpegs.root / "photos/-a_grdView.jpg"
    assert ImageArray(np.zeros((1, 2, 2, 3), np.uint8)).take([0]).path(0) is None


COLOURS = {"JPEG": ["L", "CMYK", "RGB"], "PNG": ["L", "RGB", "RGBA", "P", "1"]}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in COLOURS.items() for mode in modes])
def test_every_colour_mode_becomes_rgb(tmp_path, mode, kind):
    picture = Image.fromarray(smooth_noise("aerial", 0, 32, 32)).convert(mode)
    picture.save(tmp_path / "a.img", kind, quality=95, subsampling=0)
    expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    image = ImageFiles(tmp_path, ["a.img"]).read(0)
    assert (image.int() - expected.int()).abs().max() < (16 if kind == "JPEG" else 1)


@pytest.mark.parametrize("height", [832, 64, 30, 1])
def test_the_middle_half_is_kept_by_fraction(tmp_path, height):
    stripes = np.repeat(np.arange(height, dtype=np.uint16) * 255 // height, 16 * 3).astype(np.uint8)
    Image.fromarray(stripes.reshape(height, 16, 3)).save(tmp_path / "a.png")
    whole = ImageFiles(tmp_path, ["a.png"]).read(0)
    half = ImageFiles(tmp_path, ["a.png"], rows=(0.25, 0.75)).read(0)
    top, bottom = round(height / 4), max(round(3 * height / 4), 1)
    assert torch.equal(half, whole[:, top:bottom])


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES = {
    "half": _half,
    "without its last byte": lambda data: data[:-1],
    "zeros from the middle on": lambda data: _half(data) + bytes(len(data) // 2),
    "empty": lambda data: b"",
    "header only": lambda data: data[:20],
    "an error page": lambda data: b"<html>404 Not Found</html>",
}


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_jpeg_is_an_error_with_its_path_and_index(tmp_path, damage, progressive):
    path = tmp_path / "b.jpg"
    Image.fromarray(smooth_noise("ground", 0, 64, 128)).save(path, "JPEG", progressive=progressive)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DatasetCorruptError, match=r"Image 1 of 2, .*b\.jpg, is damaged") as caught:
        ImageFiles(tmp_path, ["a.jpg", "b.jpg"]).read(1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("without its last byte",)])
def test_a_damaged_png_is_an_error(tmp_path, damage):
    path = tmp_path / "a.png"
    Image.fromarray(smooth_noise("ground", 0, 64, 128)).save(path)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DatasetCorruptError, match=r"a\.png"):
        ImageFiles(tmp_path, ["a.png"]).read(0)


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, kind, dtype):
    grey = np.arange(256, dtype=np.int64).reshape(16, 16)
    Image.fromarray((grey * 257).astype(dtype)).save(tmp_path / "a.img", kind)
    image = ImageFiles(tmp_path, ["a.img"]).read(0)
    assert torch.equal(image.long(), torch.from_numpy(grey).expand(3, -1, -1))


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetCorruptError, match=r"bomb\.png.*more than 2,000 pixels"):
        ImageFiles(tmp_path, ["bomb.png"]).read(0)


def test_truncation_is_found_even_where_pil_was_told_to_be_lenient(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    save_jpeg(tmp_path / "a.jpg", smooth_noise("ground", 0, 64, 128))
    (tmp_path / "a.jpg").write_bytes(_half((tmp_path / "a.jpg").read_bytes()))
    with pytest.raises(DatasetCorruptError, match="truncated"):
        ImageFiles(tmp_path, ["a.jpg"]).read(0)


def test_an_embedded_thumbnail_does_not_hide_a_truncation(tmp_path):
    save_jpeg(tmp_path / "thumbnail.jpg", smooth_noise("ground", 1, 8, 8))
    save_jpeg(tmp_path / "a.jpg", smooth_noise("ground", 0, 64, 128))
    thumbnail, data = ((tmp_path / name).read_bytes() for name in ("thumbnail.jpg", "a.jpg"))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    assert ImageFiles(tmp_path, ["a.jpg"]).read(0).shape == (3, 64, 128)
    (tmp_path / "a.jpg").write_bytes((data[:2] + segment + data[2:])[:-200])
    with pytest.raises(DatasetCorruptError, match="truncated"):
        ImageFiles(tmp_path, ["a.jpg"]).read(0)


def test_taken_images_keep_ids_and_coordinates(jpegs):
    jpegs.coordinates, jpegs.coordinate_kind = np.arange(6.0).reshape(3, 2), "metres"
    taken = jpegs.take([2, 0])
    assert list(taken.ids) == ["c", "-a_grdView"]
    assert taken.coordinates.tolist() == [[4, 5], [0, 1]]
    assert torch.equal(taken.read(0), jpegs.read(2))
    assert torch.equal(taken.take([1]).read(0), jpegs.read(0))


def test_an_array_is_read_through_a_read_only_memory_map(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    images = ImageArray(np.load(tmp_path / "a.npy", mmap_mode="r"), ids=["x", "y", "z"])
    image = images.read(1)
    assert np.array_equal(image.permute(1, 2, 0).numpy(), pixels[1])
    image.zero_()  # the caller's own copy
    assert np.array_equal(images.read(1).permute(1, 2, 0).numpy(), pixels[1])


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 paths came with 1 ids"):
        ImageFiles(tmp_path, ["a.jpg", "b.jpg"], ids=["a"])
    with pytest.raises(ValueError, match="together"):
        ImageFiles(tmp_path, ["a.jpg"], coordinates=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="coordinates"):
        ImageFiles(tmp_path, ["a.jpg"], coordinates=np.zeros((2, 2)), coordinate_kind="metres")
    with pytest.raises(ValueError, match="uint8"):
        ImageArray(np.zeros((1, 4, 4, 3), np.float32))


@pytest.mark.slow
def test_workers_that_share_no_memory_read_the_same(jpegs):
    dataset = ImageDataset(jpegs)
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    images, labels = (torch.cat(parts) for parts in zip(*loader))
    assert labels.tolist() == [0, 1, 2]
    assert all(torch.equal(images[i], jpegs.read(i)) for i in range(3))


def test_an_error_in_a_worker_keeps_its_class_path_and_index(jpegs):
    (jpegs.root / jpegs.paths[1]).unlink()
    with pytest.raises(DatasetNotFoundError, match="Image 1 of 3.*_b_grdView.jpg"):
        list(DataLoader(ImageDataset(jpegs), num_workers=1))


@pytest.mark.parametrize(("stored", "size"), [((75, 75), (26, 26)), ((224, 1232), (122, 671)), ((40, 64), (60, 80))])
def test_decoded_pixels_are_pils_and_resized_ones_within_one_level(tmp_path, stored, size):
    draw = np.random.default_rng(0)
    edges = draw.integers(0, 256, (*stored, 3), np.uint8) // 2 + smooth_noise("aerial", 0, *stored) // 2
    Image.fromarray(edges).save(tmp_path / "a.jpg", quality=90)
    ours = ImageFiles(tmp_path, ["a.jpg"]).read(0)
    theirs = Image.open(tmp_path / "a.jpg")
    assert np.array_equal(ours.permute(1, 2, 0).numpy(), np.asarray(theirs))
    theirs = np.asarray(theirs.resize(size[::-1], Image.Resampling.BILINEAR), np.int64)
    resized = ImageTransform(*size).on_load(ours).permute(1, 2, 0).numpy()
    assert resized.dtype == np.uint8 and np.abs(resized - theirs).max() <= 1
