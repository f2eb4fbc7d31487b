"""The one policy by which files become pixels.

Every metric sees the same ``uint8`` RGB array:

-   EXIF orientation is applied
-   transparency is composited over white
-   16-bit, 32-bit and floating-point grey is scaled to 8 bits (by the format's
    full range; 32-bit and float by the image's own minimum and maximum)
-   palette, grey and CMYK images are converted to RGB by Pillow; embedded ICC
    profiles are ignored, as training pipelines ignore them
-   an animated file is its first frame
-   a file whose data end early is a failure, never half an image
"""

from __future__ import annotations

import warnings

import numpy as np


class ImageReadError(Exception):
    """An image could not be turned into pixels; the message says why."""


def read_image(path, crop_box=None) -> np.ndarray:
    """Decodes an image file.

    Args:
        path: the file's path
        crop_box (None): relative ``[left, top, width, height]`` in ``[0, 1]``
            of the region to return, by default the whole image. A box is
            clipped to the image

    Returns:
        ``(h, w, 3)`` uint8 RGB, contiguous

    Raises:
        ImageReadError: in one sentence, if the file is missing, unreadable,
            not an image, truncated, or the box is empty
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # A decompression bomb is an error; other warnings are noise here
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                array = _to_rgb(image)
    except FileNotFoundError:
        raise ImageReadError("the file does not exist") from None
    except IsADirectoryError:
        raise ImageReadError("the path is a folder") from None
    except PermissionError:
        raise ImageReadError("no permission to read the file") from None
    except UnidentifiedImageError:
        raise ImageReadError(_unidentified(path)) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageReadError(
            f"the image has more than {Image.MAX_IMAGE_PIXELS:,} pixels "
            "(a decompression bomb?); raise PIL.Image.MAX_IMAGE_PIXELS to "
            "allow it"
        ) from None
    except MemoryError:
        raise ImageReadError("not enough memory to decode the image") from None
    except Exception as e:  # Pillow's plugins raise nearly any type
        raise ImageReadError(f"the image is damaged: {e}") from e

    if crop_box is not None:
        array = crop(array, crop_box)

    return array


def crop(image: np.ndarray, box) -> np.ndarray:
    """Returns the part of an image inside a relative box, clipped to it.

    Args:
        image: ``(h, w, 3)`` array
        box: relative ``[left, top, width, height]``

    Returns:
        ``(h', w', 3)`` contiguous array with at least one pixel

    Raises:
        ImageReadError: if no pixel lies inside the box
    """
    height, width = image.shape[:2]
    edges = np.array([box[0] * width, box[1] * height, 0, 0], dtype=float)
    edges[2:] = edges[0] + box[2] * width, edges[1] + box[3] * height
    if not np.isfinite(edges).all():
        raise ImageReadError("the bounding box is not finite")

    left, top = np.floor(edges[:2] + 1e-6).astype(int)
    right, bottom = np.ceil(edges[2:] - 1e-6).astype(int)
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, width), min(bottom, height)
    if right <= left or bottom <= top:
        raise ImageReadError("the bounding box covers no pixel of the image")

    return np.ascontiguousarray(image[top:bottom, left:right])


def _to_rgb(image):
    from PIL import Image, ImageOps

    image.seek(0)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF" and image.mode != "F":
        return _grey_to_rgb(np.asarray(image), sixteen=_is_16_bit(image))
    if image.mode == "F":
        return _grey_to_rgb(np.asarray(image), sixteen=False)

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or (
        "transparency" in image.info
    ):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)

    if image.mode != "RGB":
        image = image.convert("RGB")

    return np.ascontiguousarray(np.asarray(image))


def _is_16_bit(image):
    # Pillow opens 16-bit PNGs as I;16 (mode I before version 10.3)
    return image.mode.startswith("I;16") or (
        image.mode == "I" and image.format in ("PNG", "PPM")
    )


def _grey_to_rgb(array, sixteen):
    array = array.astype(np.float64)
    if sixteen:
        low, high = 0.0, 65535.0
    else:
        if not np.isfinite(array).all():
            raise ValueError("pixel values are not finite")
        low, high = array.min(), array.max()

    scaled = (array - low) * (255.0 / (high - low) if high > low else 0.0)
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))


def _unidentified(path):
    import os

    if os.path.getsize(path) == 0:
        return "the file is empty"
    return "the file is not an image in a format that Pillow reads"
