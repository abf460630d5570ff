"""Photos as people have them: HEIC, GPano panoramas, lenses, headings, fisheye; written here, read as they look."""

from __future__ import annotations

import io
import sys

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image
from test_bad_images import COLOURS, PICTURE
from trees import smooth_noise

from geodtr_plugin.augmentations import ImageTransform
from geodtr_plugin.commands.locate import locate_command
from geodtr_plugin.datasets import decode
from geodtr_plugin.search.framing import Frame
from geodtr_plugin.search.geotags import Heading, exif_heading
from geodtr_plugin.search.optics import Equirectangular, Optics, Rectilinear
from geodtr_plugin.search.photos import BadImageError, Photo, decode_photo
from geodtr_plugin.search.query_views import (
    NO_HEADING,
    PANORAMA,
    PART,
    PHOTO,
    STRETCHED,
    QueryViews,
    shows_circles,
    trained_elevations,
)
from geodtr_plugin.utils.errors import UserError

GPANO = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"{}/></rdf:RDF></x:xmpmeta>'
)
PART_OF_A_TURN = {  # 24 x 16 pixels of a whole of 96 x 48: 90 degrees from 45 to 135 right of the middle, 45 up to -15
    "ProjectionType": "equirectangular", "FullPanoWidthPixels": 96, "FullPanoHeightPixels": 48,
    "CroppedAreaImageWidthPixels": 24, "CroppedAreaImageHeightPixels": 16, "CroppedAreaLeftPixels": 60,
    "CroppedAreaTopPixels": 12,
}  # fmt: skip
WHOLE = ImageTransform(16, 48)
QUARTER = ImageTransform(16, 12, panorama_width=48)  # of a model that was trained with --fov 90


decode._register()  # so that Pillow writes HEIF


def xmp(fields: dict, elements: bool = False) -> bytes:
    """Return the block as attributes, which Google's camera writes, or as elements, which others do."""
    if elements:
        inside = "".join(f"<GPano:{name}>{value}</GPano:{name}>" for name, value in fields.items())
        return GPANO.format("").replace("/></rdf:RDF>", f">{inside}</rdf:Description></rdf:RDF>").encode()
    return GPANO.format("".join(f' GPano:{name}="{value}"' for name, value in fields.items())).encode()


def exif(direction=None, reference=None, focal=None, lens=None) -> Image.Exif:
    block = Image.Exif()
    if direction is not None:
        block.get_ifd(0x8825).update({16: reference, 17: direction} if reference else {17: direction})
    block.get_ifd(0x8769).update({k: v for k, v in ((0xA405, focal), (0xA434, lens)) if v is not None})
    return block


def photo(format="JPEG", picture=PICTURE, **options) -> Photo:
    stream = io.BytesIO()
    picture.copy().save(stream, format, **options)  # pillow-heif writes into the picture that it saves
    return decode_photo(stream.getvalue())


def noise(height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.tensor(smooth_noise("ground", seed, height, width)).permute(2, 0, 1)


def test_heic_looks_as_it_did_and_keeps_what_it_says():
    found = photo("HEIF", quality=-1, exif=exif(123.5, "M"), xmp=xmp(PART_OF_A_TURN))
    assert abs(found.pixels.permute(1, 2, 0).numpy().astype(int) - COLOURS).max() <= 12  # YCbCr of half the resolution
    assert found.heading == Heading(123.5, "magnetic") and found.optics.projection.span == 90


def test_heic_is_turned_by_its_container_and_not_again_by_its_exif():
    stream = io.BytesIO()
    picture = pillow_heif.from_pillow(PICTURE.copy())
    picture.info["exif"] = b"Exif\0\0" + (lambda block: block.__setitem__(0x0112, 6) or block)(Image.Exif()).tobytes()
    picture.save(stream, quality=-1)
    with Image.open(io.BytesIO(stream.getvalue())) as image:
        wanted = image.size
    assert decode_photo(stream.getvalue()).pixels.shape[-2:] == wanted[::-1]


def test_without_pillow_heif_a_sentence_says_what_to_install(monkeypatch):
    stream = io.BytesIO()
    PICTURE.copy().save(stream, "HEIF")
    monkeypatch.setattr(decode, "FORMATS", tuple(name for name in decode.FORMATS if name != "HEIF"))
    with pytest.raises(BadImageError, match=r'is HEIC, which needs pip install "geodtr_plugin\[heic\]"'):
        decode_photo(stream.getvalue())


def test_pillow_heif_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decode._register.cache_clear()
    assert photo().pixels.shape == (3, 16, 24)
    decode._register.cache_clear()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG", "TIFF", "HEIF"])
@pytest.mark.parametrize("elements", [False, True])
def test_gpano_is_read_from_every_format(format, elements):
    block = xmp({**PART_OF_A_TURN, "PoseHeadingDegrees": 300}, elements)
    options: dict = {"xmp": block}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", block.decode())
        options = {"pnginfo": info}
    elif format == "TIFF":
        options = {"tiffinfo": {700: block}}
    found = photo(format, **options)
    assert found.optics.projection == Equirectangular(90, 45, -15, 90)
    assert found.heading == Heading(30, "true")  # of its own middle: a quarter turn right of the whole one's


@pytest.mark.parametrize(
    "wrong",
    [
        {"FullPanoWidthPixels": "none"}, {"FullPanoHeightPixels": 0}, {"CroppedAreaImageWidthPixels": 200},
        {"CroppedAreaTopPixels": 40}, {"CroppedAreaImageHeightPixels": 8}, {"FullPanoWidthPixels": "nan"},
        {"FullPanoHeightPixels": "1e999"}, {"ProjectionType": "cylindrical"}, {"CroppedAreaTopPixels": -3},
    ],
)  # fmt: skip
def test_gpano_that_cannot_be_true_says_nothing(wrong):
    assert photo(xmp=xmp({**PART_OF_A_TURN, **wrong})).optics.projection is None


def test_a_whole_panorama_in_pixels_of_any_size_costs_no_memory():
    """A hostile block may name any size: the frame is that of the network."""
    fields = {**PART_OF_A_TURN, "FullPanoWidthPixels": 96e12, "FullPanoHeightPixels": 48e12,
              "CroppedAreaImageWidthPixels": 24e12, "CroppedAreaImageHeightPixels": 16e12,
              "CroppedAreaLeftPixels": 60e12, "CroppedAreaTopPixels": 12e12}  # fmt: skip
    found = photo(xmp=xmp(fields))
    assert found.optics.projection == Equirectangular(90, 45, -15, 90)
    assert QueryViews(WHOLE).view(found).pixels.shape == (3, 16, 48)


@pytest.mark.parametrize("reference, north", [("T", "true"), ("M", "magnetic"), (None, "unknown"), ("X", "unknown")])
def test_headings_in_exif(reference, north):
    assert photo(exif=exif(359.5, reference)).heading == Heading(359.5, north)
    assert str(Heading(359.7, "magnetic")) == "0° (magnetic north)"


@pytest.mark.parametrize("direction", [400.0, -5.0])
def test_headings_that_are_none(direction):
    class Block:
        def get_ifd(self, number):
            return {16: "T", 17: direction}

    assert exif_heading(Block()) is None


@pytest.mark.parametrize("heading", [0.0, 90.0, 222.5])
def test_a_part_lies_where_it_was_cut_from_the_panorama(heading):
    """Cut from a panorama and placed again: the same pixels at the same directions, and its rows' colours elsewhere."""
    whole = noise(96, 192)
    frame = Frame(24, 48, 45, -45)  # points of 1.875 degrees a column, as the panorama has
    left = 60
    part = whole[..., 24:72, left : left + 60]
    placed = frame.place(part, Equirectangular(112.5, 45, -45), heading)
    assert placed.shape == (3, 96, 192)
    first = round((180 + heading - 112.5 / 2) / 1.875) % 192
    columns = (first + np.arange(60)) % 192
    wanted = torch.nn.functional.interpolate(part[None].float(), (96, 60), mode="bilinear")[0]
    assert (placed[..., columns].float() - wanted).abs().max() <= 2
    others = np.setdiff1d(np.arange(192), columns)
    means = wanted.mean(2, keepdim=True).expand(-1, -1, len(others))
    assert (placed[..., others].float() - means).abs().max() <= 2


def test_rows_that_a_part_does_not_show_get_the_nearest_rows_colours():
    frame = Frame(8, 16)
    placed = frame.place(torch.full((3, 10, 30), 77, dtype=torch.uint8), Equirectangular(90, 20, -20))
    assert (placed == 77).all()


def test_a_photo_is_drawn_as_its_lens_saw_it():
    """A naive loop over the frame: the ray of every point against the picture plane of the lens."""
    lens, frame = Rectilinear(90.0, 1.5), Frame(9, 36, 60, -30)
    ramp = torch.arange(0, 240, 4, dtype=torch.uint8)  # 60 columns
    picture = torch.stack([ramp.expand(40, 60), torch.arange(0, 240, 6, dtype=torch.uint8)[:, None].expand(40, 60)])
    picture = torch.cat([picture, torch.full((1, 40, 60), 9, dtype=torch.uint8)])
    placed = frame.place(picture, lens).float()
    compared = 0
    for row in range(0, 36, 5):
        for column in range(0, 144, 7):
            azimuth, elevation = np.radians((column + 0.5) * 2.5 - 180), np.radians(60 - (row + 0.5) * 2.5)
            flat = np.cos(elevation)
            ray = np.array([np.sin(azimuth) * flat, np.cos(azimuth) * flat, np.sin(elevation)])
            x, y = (ray[0] / ray[1] + 1) / 2 * 60 - 0.5, (0.5 - ray[2] / ray[1] * 1.5 / 2) * 40 - 0.5
            if ray[1] > 0 and 1 <= x <= 58 and 1 <= y <= 38:
                compared += 1
                assert placed[0, row, column] == pytest.approx(4 * x, abs=8)
                assert placed[1, row, column] == pytest.approx(6 * y, abs=12)
    assert compared > 20


@pytest.mark.parametrize("size, focal, degrees", [((36, 24), 18, 90.0), ((24, 36), 18, 67.38), ((36, 24), 26, 69.39)])
def test_the_field_of_view_of_a_lens(size, focal, degrees):
    found = photo(picture=Image.new("RGB", size), exif=exif(focal=focal)).optics.projection
    assert found == Rectilinear(pytest.approx(degrees, abs=0.01), size[0] / size[1])
    assert photo(picture=Image.new("RGB", (64, 24)), exif=exif(focal=focal)).optics.projection is None  # a panorama


def test_what_photos_are_taken_for():
    wide, square, lens = noise(24, 72), noise(32, 40), Optics(Rectilinear(70.0, 1.25))
    part = Optics(Equirectangular(200, 30, -20))
    views = {"whole": QueryViews(WHOLE), "quarter": QueryViews(QUARTER), "cropped": QueryViews(QUARTER, cropped=True)}
    cases = [
        ("whole", Photo(wide), PANORAMA, None), ("whole", Photo(square), PHOTO, STRETCHED),
        ("whole", Photo(square, optics=lens), PHOTO, None), ("whole", Photo(wide, optics=part), PART, None),
        ("quarter", Photo(wide), PANORAMA, None), ("quarter", Photo(square), PHOTO, None),
        ("quarter", Photo(square, optics=lens), PHOTO, None), ("quarter", Photo(wide, optics=part), PART, None),
        ("cropped", Photo(wide, optics=part), PHOTO, None),
    ]  # fmt: skip
    for name, one, kind, note in cases:
        found = views[name].view(one)
        assert (found.taken_as, found.note) == (kind, note), (name, one.optics)
        assert found.pixels.shape[-2:] == (views[name].image.size if name != "cropped" else QUARTER.size)


def test_a_photo_of_a_limited_model_is_what_it_sees():
    """Without a word on its lens it fills the field of view; what the network then cuts is the photo alone."""
    one = noise(64, 96)
    seen = QUARTER.crop(QueryViews(QUARTER, elevations=(36.0, -30.0)).view(Photo(one)).pixels[None])[0]
    wanted = torch.nn.functional.interpolate(one[None].float(), (16, 12), mode="area")[0]
    assert seen.shape == (3, 16, 12) and (seen.float() - wanted).abs().mean() < 4


@pytest.mark.parametrize("degrees", [0.0, 90.0, -90.0, 337.5])
def test_a_known_heading_brings_north_to_the_middle(degrees):
    """A panorama whose middle looks to DEG is that with north in the middle, rolled back."""
    north = noise(24, 48)
    looking = north.roll(-round(degrees / 360 * 48), -1)
    view = QueryViews(ImageTransform(24, 48), heading=degrees).view(Photo(looking))
    assert torch.equal(view.pixels, north) and view.turned == degrees
    by_file = QueryViews(ImageTransform(24, 48), heading="photo")
    assert torch.equal(by_file.view(Photo(looking, heading=Heading(degrees % 360, "true"))).pixels, north)
    assert by_file.view(Photo(looking)).note == NO_HEADING
    assert torch.equal(by_file.view(Photo(looking)).pixels, looking)


def test_models_of_photos_take_photos_as_they_are():
    """Place recognition was trained on what cameras saw, not on panoramas."""
    image, lens = ImageTransform(32, 40), Optics(Rectilinear(70.0, 1.25))
    view = QueryViews(image).view(Photo(noise(32, 40), optics=lens))
    assert torch.equal(view.pixels, noise(32, 40)) and (view.taken_as, view.note) == (PHOTO, None)


def circles(height: int, width: int, centres) -> torch.Tensor:
    y, x = torch.arange(height)[:, None], torch.arange(width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    for at in centres:
        inside |= (y - height / 2) ** 2 + (x - at) ** 2 < (min(height, width) / 2 - 1) ** 2
    return noise(height, width) // 2 * inside + 60 * inside.to(torch.uint8)


def test_fisheye_is_told_from_other_pictures():
    assert shows_circles(circles(64, 64, [32])) and shows_circles(circles(64, 128, [32, 96]))
    assert shows_circles(circles(64, 100, [50]))
    night = torch.zeros(3, 64, 128, dtype=torch.uint8)
    for other in (noise(64, 64), noise(64, 128), night, circles(64, 64, [32]) + 40, torch.cat([night, night], 1)):
        assert not shows_circles(other)
    for one in (Photo(circles(64, 128, [32, 96])), photo(exif=exif(lens="EF8-15mm f/4L FISHEYE USM")),
                photo(xmp=xmp({"ProjectionType": "fisheye"}))):  # fmt: skip
        with pytest.raises(BadImageError, match="is a fisheye picture: make a panorama of it first"):
            QueryViews(WHOLE).view(one)
    stitched = photo(picture=Image.new("RGB", (64, 32), (90, 90, 90)), exif=exif(lens="Fish-Eye 8mm"))
    assert QueryViews(WHOLE).view(stitched).taken_as == PANORAMA


def test_the_elevations_that_a_model_was_trained_with(run):
    assert trained_elevations("worlds") == (36.0, -29.5) == trained_elevations(run)
    with pytest.raises(UserError, match="upper edge first"):
        QueryViews(WHOLE, elevations=(-30.0, 36.0))
    with pytest.raises(UserError, match="no direction"):
        QueryViews(WHOLE, heading=500)


def test_the_command_reads_a_heic_panorama_and_says_what_it_is(run, tiles, tmp_path, capsys):
    from geodtr_plugin.search import build_index

    build_index(run, tiles / "places.csv", tmp_path / "i", device="cpu", progress=False)
    Image.fromarray(smooth_noise("ground", 5, 40, 90)).save(
        tmp_path / "a.heic", exif=exif(90.0, "M"), xmp=xmp({**PART_OF_A_TURN, "CroppedAreaImageWidthPixels": 36})
    )
    Image.fromarray(circles(64, 64, [32]).permute(1, 2, 0).numpy()).save(tmp_path / "b.png")
    words = f"--index {tmp_path / 'i'} {tmp_path / 'a.heic'} {tmp_path / 'b.png'} --device cpu --top 2"
    assert locate_command(f"{words} --heading photo --format json".split()) == 0
    said = capsys.readouterr()
    assert '"taken_as": "part of a panorama"' in said.out and '"north": "magnetic"' in said.out
    assert "b.png is a fisheye picture" in said.err
    assert locate_command(words.split()) == 0
    assert "(not calibrated: the index has no calibration; looks to 90° (magnetic north) by its file)" in (
        capsys.readouterr().out
    )
    assert locate_command(f"{words} --heading 10 --headings 4".split()) == 1
    assert "--headings looks for what --heading says." in capsys.readouterr().err
