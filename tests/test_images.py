"""The decode policy, on real files of every kind it speaks of."""

import numpy as np
import pytest
from PIL import Image

from fiftyone_iqa.images import ImageReadError, crop, read_image


@pytest.fixture
def photo():
    y, x = np.mgrid[:40, :60]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=2).astype(np.uint8)


def save(image, path, **kwargs):
    Image.fromarray(image).save(path, **kwargs)
    return path


def test_rgb_comes_back_as_it_is(photo, tmp_path):
    pixels = read_image(save(photo, tmp_path / "a.png"))
    np.testing.assert_array_equal(pixels, photo)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(photo, tmp_path, orientation):
    # How a viewer turns the stored pixels, per the EXIF standard
    turned = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: photo.transpose(1, 0, 2)[:, ::-1],
        7: photo.transpose(1, 0, 2)[::-1, ::-1],
        8: photo.transpose(1, 0, 2)[::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(photo, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(path), turned)


def test_transparency_is_over_white(tmp_path):
    rgba = np.zeros((4, 6, 4), dtype=np.uint8)
    rgba[..., 0], rgba[:, :3, 3], rgba[:, 3:, 3] = 200, 255, 0
    pixels = read_image(save(rgba, tmp_path / "a.png"))
    assert (pixels[:, :3] == (200, 0, 0)).all()
    assert (pixels[:, 3:] == 255).all()


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (6, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 3, 4))
    image.save(tmp_path / "a.png", transparency=0)
    pixels = read_image(tmp_path / "a.png")
    assert (pixels[:, :3] == (200, 100, 50)).all()
    assert (pixels[:, 3:] == 255).all()


def test_sixteen_bits_are_scaled_by_the_full_range(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 1, 128, 255])
    assert (pixels == pixels[..., :1]).all()


def test_float_grey_is_scaled_by_its_own_range(tmp_path):
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    pixels = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels[0, :, 1], [0, 128, 255])


def test_grey_and_bilevel(photo, tmp_path):
    grey = read_image(save(photo[..., 0], tmp_path / "a.png"))
    np.testing.assert_array_equal(grey[..., 2], photo[..., 0])
    Image.fromarray(photo[..., 0]).convert("1").save(tmp_path / "b.png")
    assert set(np.unique(read_image(tmp_path / "b.png"))) == {0, 255}


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(
        tmp_path / "a.jpg", quality=100
    )
    red = read_image(tmp_path / "a.jpg")[4, 4].astype(int)
    assert red[0] > 200
    assert red[1:].max() < 60


def test_an_animation_is_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (5, 5), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_image(tmp_path / "a.gif")[0, 0] == (255, 0, 0)).all()


@pytest.mark.parametrize("ext", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_truncated_file_is_a_failure(tmp_path, ext, tenths):
    from numpy.random import default_rng

    noise = default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save(noise, tmp_path / f"a.{ext}").read_bytes()
    path = tmp_path / f"b.{ext}"
    path.write_bytes(data[: len(data) * tenths // 10])
    with pytest.raises(ImageReadError):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"not an image at all", "not an image")],
)
def test_what_is_no_image(tmp_path, content, says):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageReadError, match=says):
        read_image(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ImageReadError, match="does not exist"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(ImageReadError, match="folder"):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, photo):
    path = save(photo, tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageReadError, match="1,000 pixels"):
        read_image(path)


def test_the_extension_does_not_matter(photo, tmp_path):
    path = save(photo, tmp_path / "a.jpg", format="png")
    np.testing.assert_array_equal(read_image(path), photo)


def test_crop_box_cuts_and_clips(photo, tmp_path):
    path = save(photo, tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(path, (0.5, 0.25, 0.25, 0.5)), photo[10:30, 30:45]
    )
    np.testing.assert_array_equal(
        crop(photo, (-0.5, 0.75, 1.0, 9.0)), photo[30:, :30]
    )
    # A box thinner than a pixel still has one
    assert crop(photo, (0.5, 0.5, 1e-4, 1e-4)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    "box",
    [(1.5, 0, 0.5, 0.5), (0, 0, 0, 0.5), (0.1, 0.1, -0.2, 0.5)],
)
def test_a_box_outside_is_a_failure(photo, box):
    with pytest.raises(ImageReadError, match="no pixel"):
        crop(photo, box)


def test_a_box_that_is_not_finite_is_a_failure(photo):
    with pytest.raises(ImageReadError, match="finite"):
        crop(photo, (0, 0, float("nan"), 1))
