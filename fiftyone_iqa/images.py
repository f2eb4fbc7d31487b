"""The one policy by which files become pixels.

Every metric sees the same ``uint8`` RGB array:

-   EXIF orientation is applied
-   transparency is composited over white
-   16-bit, 32-bit and floating-point grey is scaled to 8 bits (by the format's
    full range; 32-bit and float by the image's own minimum and maximum)
-   palette, grey and CMYK images are converted to RGB by Pillow; embedded ICC
    profiles are ignored, as training pipelines ignore them
-   an animated file is its first frame
-   a file whose data end early is a failure, never half an image. Damage
    inside is noticed where the format can tell (PNG has checksums; JPEG, GIF
    and WebP have none, so a wrong byte there is a wrong image)
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
import warnings

import numpy as np

# EPS would be handed to Ghostscript, a program that obeys the file; WMF to
# Windows. Neither has pixels of its own
_NOT_PIXELS = ("EPS", "WMF")

# More passes over the pixels than any encoder makes. A small file of thousands
# decodes for hours; libjpeg-turbo's own fuzzers stop here
_MAX_SCANS = 500

# Before a JPEG's end, read only if its own data do not fill the image
_FILLER = bytes(range(1, 65))
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"

_MAX_REASON = 300  # characters


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
        _check_regular(path)
        with _PILLOW_RULES, Image.open(path) as image:
            _check_work(image, path)
            image.seek(0)
            image.load()
            _check_filled(image, path)
            array = _to_rgb(image)
    except ImageReadError:
        raise
    except UnidentifiedImageError:
        raise ImageReadError(_unidentified(path)) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise ImageReadError(_too_large()) from None
    except MemoryError:
        raise ImageReadError("not enough memory to decode the image") from None
    except OSError as e:
        reason = _REASONS.get(e.errno) or f"the image is damaged: {_line(e)}"
        raise ImageReadError(reason) from e
    except Exception as e:  # Pillow's plugins raise nearly any type
        raise ImageReadError(f"the image is damaged: {_line(e)}") from e

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


class _PillowRules:
    """Pillow's global settings as the policy needs them, while images decode.

    ``ImageFile.LOAD_TRUNCATED_IMAGES``, which some packages switch on when
    they are imported, fills what is missing with grey. Its warnings are noise
    here, and would be errors where Python is told so. Both settings are the
    process's, so the first thread to come changes them and the last one to
    leave puts them back.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self):
        from PIL import ImageFile

        with self._lock:
            if self._inside == 0:
                self._lenient = False
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._filter = warnings.filters[0]
            self._lenient |= ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            self._inside += 1

    def __exit__(self, *error):
        from PIL import ImageFile

        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                ImageFile.LOAD_TRUNCATED_IMAGES = self._lenient
                if self._filter in warnings.filters:
                    warnings.filters.remove(self._filter)


_PILLOW_RULES = _PillowRules()

_REASONS = {
    errno.ENOENT: "the file does not exist",
    errno.ENOTDIR: "the file does not exist",
    errno.EISDIR: "the path is a folder",
    errno.EACCES: "no permission to read the file",
    errno.EPERM: "no permission to read the file",
    errno.ELOOP: "the path is a loop of symbolic links",
    errno.ENAMETOOLONG: "the path is too long",
}


def _check_regular(path):
    """Refuses what would block or never end: pipes, devices, sockets."""
    try:
        mode = os.stat(path).st_mode
    except ValueError:
        raise ImageReadError("the path has a null byte in it") from None
    if stat.S_ISDIR(mode):
        raise ImageReadError("the path is a folder")
    if not stat.S_ISREG(mode):
        raise ImageReadError(
            "the path is no regular file, but a device, pipe or socket"
        )


def _check_work(image, path):
    """Refuses images that take more memory or time than any real one."""
    from PIL import Image

    if image.format in _NOT_PIXELS:
        raise ImageReadError(
            f"the file is {image.format}, a drawing; convert it to an image"
        )
    # Pillow itself warns up to twice this limit
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageReadError(_too_large())
    if image.info.get("progressive"):
        with open(path, "rb") as file:
            n_scans = file.read().count(_JPEG_SCAN)
        if n_scans > _MAX_SCANS * getattr(image, "n_frames", 1):
            raise ImageReadError(
                f"the image is a progressive JPEG of {n_scans:,} scans; more "
                f"than {_MAX_SCANS} take too long to decode"
            )


def _check_filled(image, path):
    """Refuses a JPEG whose data end early without Pillow's noticing.

    Before an end marker, libjpeg leaves the rest mid-grey. A grey corner may
    be meant; then the filler stands behind the last pixel and changes
    nothing. Zeros, as an interrupted download leaves them, are read as data.
    """
    from PIL import Image

    if image.format not in ("JPEG", "MPO"):
        return
    early = "the image is damaged: its data end early"
    if image.format == "JPEG" and not any(_tail(path)):
        with open(path, "rb") as file:
            *_, last_scan = file.read().rpartition(_JPEG_SCAN)
        if _JPEG_END not in last_scan:
            raise ImageReadError(early)

    width, height = image.size
    block = (width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height
    if not np.isin(np.asarray(image.crop(block)), (127, 128)).all():
        return
    with open(path, "rb") as file:
        before, end, after = file.read().rpartition(_JPEG_END)
    filled = io.BytesIO(before + _FILLER + end + after)
    with Image.open(filled) as other:
        if not np.array_equal(np.asarray(image), np.asarray(other)):
            raise ImageReadError(early)


def _tail(path):
    with open(path, "rb") as file:
        file.seek(-min(64, os.path.getsize(path)), os.SEEK_END)
        return file.read()


def _too_large():
    from PIL import Image

    return (
        f"the image has more than {Image.MAX_IMAGE_PIXELS:,} pixels "
        "(a decompression bomb?); raise PIL.Image.MAX_IMAGE_PIXELS to "
        "allow it"
    )


def _unidentified(path):
    if os.path.getsize(path) == 0:
        return "the file is empty"
    return "the file is not an image in a format that Pillow reads"


def _line(error):
    """Returns an error's message as one line that a database stores."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")[:_MAX_REASON]
