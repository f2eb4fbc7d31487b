"""A corpus of files as they lie about in real folders, and worse.

Every entry says what is expected: its pixels, known from how it was made and
not from a decoder, or a pattern that the reason for its failure matches.
"""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

HEIGHT, WIDTH = 64, 96
LOSSY = 4.0  # mean absolute difference of 255 levels, JPEG at quality 95
DAMAGED = "damaged|not an image"


@dataclass(frozen=True)
class Entry:
    """One path of the corpus.

    Attributes:
        name: says what it is
        path: of the file
        pixels: ``(h, w, 3)`` uint8 that it shows, None for a bad one
        tolerance: mean absolute difference from ``pixels`` allowed
        reason: regular expression for the failure, None for a good one
        storable: whether a database can hold the path
    """

    name: str
    path: str
    pixels: np.ndarray | None = None
    tolerance: float = 0.0
    reason: str | None = None
    storable: bool = True

    @property
    def good(self):
        return self.reason is None


def photograph(height=HEIGHT, width=WIDTH):
    """Smooth colours with a little noise, which JPEG keeps well."""
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([x * 2.5, y * 3.9, (x + y) * 1.5], axis=2)
    noise = np.random.default_rng(0).normal(0, 3, ramps.shape)
    return np.clip(ramps + noise, 0, 255).astype(np.uint8)


def encode(pixels, file_format, **options):
    """Returns the bytes of an image file."""
    image = pixels
    if isinstance(pixels, np.ndarray):
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png(rows, width, height, bits, colour, interlace=0, extra=b""):
    """Returns a PNG of rows of bytes that Pillow cannot write."""
    head = struct.pack(
        ">IIBBBBB", width, height, bits, colour, 0, 0, interlace
    )
    data = b"".join(b"\0" + row for row in rows)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", head),
            extra,
            png_chunk(b"IDAT", zlib.compress(data)),
            png_chunk(b"IEND", b""),
        ]
    )


def png_chunk(kind, data):
    """Returns a chunk of a PNG with its length and checksum."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def interlaced_png(pixels):
    """Returns an Adam7-interlaced PNG."""
    height, width = pixels.shape[:2]
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
    starts += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = []
    for y, x, dy, dx in starts:
        part = pixels[y::dy, x::dx]
        if part.size:
            rows += [row.tobytes() for row in part]
    return png(rows, width, height, 8, 2, interlace=1)


def turned(pixels, orientation):
    """How a viewer turns stored pixels, as the EXIF standard says."""
    across = pixels.transpose(1, 0, 2)
    return {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: across,
        6: across[:, ::-1],
        7: across[::-1, ::-1],
        8: across[::-1],
    }[orientation]


def many_scans(n):
    """Returns a progressive JPEG whose last scan comes ``n`` times more."""
    data = encode(photograph(), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * n + data[start:]


class Corpus:
    """Writes the files into a folder.

    Args:
        folder: an empty folder
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.entries: list[Entry] = []
        self._photo = photograph()
        self._grey = self._photo[..., 0]
        self._lossless_formats()
        self._lossy_formats()
        self._channels()
        self._metadata()
        self._names()
        self._truncated()
        self._not_images()
        self._bombs()
        self._not_files()

    def _good(self, name, data, pixels=None, tolerance=0.0, **options):
        pixels = self._photo if pixels is None else pixels
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        path = self._write(name, data)
        self.entries.append(Entry(name, path, pixels, tolerance, **options))

    def _bad(self, name, data, reason):
        path = self._write(name, data) if data is not None else self._at(name)
        self.entries.append(Entry(name, path, reason=reason))

    def _at(self, name):
        return str(self.folder / name)

    def _write(self, name, data):
        path = os.path.join(os.fspath(self.folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        return path

    # -- good -----------------------------------------------------------------

    def _lossless_formats(self):
        photo = self._photo
        for name, options in (
            ("a.png", {}),
            ("a.bmp", {}),
            ("a.ppm", {}),
            ("a.tga", {}),
            ("raw.tiff", {}),
            ("lzw.tiff", {"compression": "tiff_lzw"}),
            ("deflate.tiff", {"compression": "tiff_adobe_deflate"}),
            ("lossless.webp", {"lossless": True}),
            ("lossless.jp2", {"irreversible": False}),
        ):
            kinds = {"jp2": "JPEG2000", "tga": "TGA"}
            suffix = name.rpartition(".")[2]
            kind = kinds.get(suffix, suffix.upper())
            self._good(name, encode(photo, kind, **options))
        self._good("interlaced.png", interlaced_png(photo))
        second = Image.fromarray(photo[::-1].copy())
        more = {"save_all": True, "append_images": [second]}
        self._good("pages.tiff", encode(photo, "TIFF", **more))
        self._good("animated.png", encode(photo, "PNG", **more))
        self._good(
            "animated.webp", encode(photo, "WEBP", lossless=True, **more)
        )

    def _lossy_formats(self):
        for name, options in (
            ("a.jpg", {}),
            ("444.jpg", {"subsampling": 0}),
            ("progressive.jpg", {"progressive": True}),
            ("restarts.jpg", {"restart_marker_blocks": 2}),
            ("optimised.jpg", {"optimize": True}),
        ):
            data = encode(self._photo, "JPEG", quality=95, **options)
            self._good(name, data, tolerance=LOSSY)
        self._good(
            "a.webp", encode(self._photo, "WEBP", quality=95), tolerance=LOSSY
        )
        self._good(
            "jpeg.tiff",
            encode(self._photo, "TIFF", compression="jpeg", quality=95),
            tolerance=LOSSY,
        )
        more = [Image.fromarray(self._photo[::-1].copy())]
        stereo = encode(
            self._photo, "MPO", quality=95, save_all=True, append_images=more
        )
        self._good("stereo.mpo", stereo, tolerance=LOSSY)
        self._good("stereo-named.jpg", stereo, tolerance=LOSSY)
        data = encode(self._photo, "JPEG", quality=95)
        self._good("trailing-bytes.jpg", data + b"\1" * 500, tolerance=LOSSY)
        self._good("trailing-zeros.jpg", data + bytes(500), tolerance=LOSSY)
        self._good("twice.jpg", data + data, tolerance=LOSSY)
        # libjpeg leaves what is missing in this grey; here it is meant
        padded = self._photo.copy()
        padded[:, WIDTH // 2 :] = 128
        self._good(
            "padded-grey.jpg",
            encode(padded, "JPEG", quality=95),
            padded,
            tolerance=LOSSY,
        )
        self._good(
            "only-grey.jpg",
            encode(np.full((37, 50), 128, np.uint8), "JPEG"),
            np.full((37, 50), 128, np.uint8),
        )

    def _channels(self):
        photo, grey = self._photo, self._grey
        self._good("grey.png", encode(grey, "PNG"), grey)
        self._good("grey.jpg", encode(grey, "JPEG", quality=95), grey, LOSSY)
        wide = grey.astype(np.uint16) * 257
        self._good("grey16.png", encode(wide, "PNG"), grey)
        self._good("grey16.tiff", encode(wide, "TIFF"), grey)
        floats = grey.astype(np.float32)
        low, high = floats.min(), floats.max()
        stretched = np.rint((floats - low) * (255 / (high - low)))
        self._good(
            "float.tiff", encode(floats / 7, "TIFF"), stretched.astype("u1")
        )
        self._good(
            "int32.tiff",
            encode(grey.astype(np.int32) * 1000, "TIFF"),
            stretched.astype("u1"),
        )
        rows = [row.tobytes() for row in photo.astype(">u2") * 257]
        self._good("rgb16.png", png(rows, WIDTH, HEIGHT, 16, 2), photo)
        black = grey > 127
        self._good(
            "bilevel.png",
            encode(Image.fromarray(black), "PNG"),
            black.astype(np.uint8) * 255,
        )
        self._good(
            "bilevel-g4.tiff",
            encode(Image.fromarray(black), "TIFF", compression="group4"),
            black.astype(np.uint8) * 255,
        )
        few = (photo // 128) * 255
        self._good(
            "palette.png", encode(Image.fromarray(few).quantize(8), "PNG"), few
        )
        frames = [
            Image.fromarray(part).quantize(8) for part in (few, few[::-1])
        ]
        self._good(
            "animated.gif",
            encode(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            few,
        )
        self._good("a.gif", encode(frames[0], "GIF"), few)

        shown = np.full_like(photo, 255)
        shown[:, : WIDTH // 2] = photo[:, : WIDTH // 2]
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        alpha[:, : WIDTH // 2] = 255
        rgba = np.dstack([photo, alpha])
        self._good("alpha.png", encode(rgba, "PNG"), shown)
        self._good("alpha.tiff", encode(rgba, "TIFF"), shown)
        self._good(
            "alpha.webp",
            encode(rgba, "WEBP", lossless=True, exact=True),
            shown,
        )
        grey_alpha = Image.merge(
            "LA", [Image.fromarray(grey), Image.fromarray(alpha)]
        )
        grey_shown = np.where(alpha > 0, grey, 255).astype(np.uint8)
        self._good("grey-alpha.png", encode(grey_alpha, "PNG"), grey_shown)
        index = Image.fromarray((alpha // 255).astype(np.uint8), "P")
        index.putpalette([9, 9, 9, 200, 100, 50])
        two = np.where(
            alpha[..., None] > 0, np.uint8([200, 100, 50]), np.uint8(255)
        )
        self._good(
            "palette-alpha.png", encode(index, "PNG", transparency=0), two
        )

        # Of no black, so that the conversion is exact
        cmyk = Image.merge(
            "CMYK",
            [Image.fromarray(255 - photo[..., i]) for i in range(3)]
            + [Image.new("L", (WIDTH, HEIGHT), 0)],
        )
        self._good(
            "cmyk.jpg", encode(cmyk, "JPEG", quality=95), tolerance=LOSSY
        )
        self._good("cmyk.tiff", encode(cmyk, "TIFF"), tolerance=1)

    def _metadata(self):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            self._good(
                f"turned-{orientation}.png",
                encode(self._photo, "PNG", exif=exif),
                turned(self._photo, orientation),
            )
            self._good(
                f"turned-{orientation}.jpg",
                encode(self._photo, "JPEG", quality=95, exif=exif),
                turned(self._photo, orientation),
                LOSSY,
            )
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "x" * 500
        # What is left of it still says how to turn the image
        self._good(
            "exif-cut.jpg",
            encode(self._photo, "JPEG", quality=95, exif=exif.tobytes()[:40]),
            turned(self._photo, 6),
            LOSSY,
        )
        for name, block in (
            ("exif-junk", b"Exif\0\0" + b"\xee" * 300),
            ("exif-empty", b"Exif\0\0"),
        ):
            data = encode(self._photo, "JPEG", quality=95, exif=block)
            self._good(f"{name}.jpg", data, tolerance=LOSSY)
        wrong = Image.Exif()
        wrong[0x0112] = 77
        self._good(
            "orientation-77.png", encode(self._photo, "PNG", exif=wrong)
        )
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        profile = srgb.tobytes()
        for name, block in (
            ("icc", profile),
            ("icc-cut", profile[:100]),
            ("icc-junk", b"\xee" * 999),
        ):
            self._good(
                f"{name}.png", encode(self._photo, "PNG", icc_profile=block)
            )
            data = encode(self._photo, "JPEG", quality=95, icc_profile=block)
            self._good(f"{name}.jpg", data, tolerance=LOSSY)

    def _names(self):
        data = encode(self._photo, "PNG")
        for name in (
            "png-named.jpg",
            "no-extension",
            "bild-äöü-画像-🖼.png",
            "with space & 'quote' \"double\".png",
            "with\nnewline.png",
            "%s {} $where.png",
            "-rf.png",
            "UPPER.PNG",
            "a.jpg.exe",
            f"{'n' * 200}.png",
            "/".join(["deep"] * 40) + "/a.png",
        ):
            self._good(name, data)
        surrogate = os.fsdecode(b"latin-\xe4.png")
        self._good(surrogate, data, storable=False)
        for name, target in (
            ("link.png", "a.png"),
            ("link-to-link.png", "link.png"),
        ):
            os.symlink(target, self.folder / name)
            self.entries.append(Entry(name, self._at(name), self._photo))
        for size in ((1, 1), (1, 500), (500, 1), (2, 3)):
            pixels = photograph(*size)
            self._good(
                f"{size[0]}x{size[1]}.png", encode(pixels, "PNG"), pixels
            )

    # -- bad ------------------------------------------------------------------

    def _truncated(self):
        photo, grey = self._photo, self._grey
        noise = np.random.default_rng(1).integers(
            0, 256, photo.shape, dtype=np.uint8
        )
        wide = noise[..., 0].astype(np.uint16) * 257
        cmyk = Image.fromarray(photo).convert("CMYK")
        palette = Image.fromarray(noise).quantize(64)
        files = {
            "baseline.jpg": encode(photo, "JPEG", quality=95),
            "progressive.jpg": encode(photo, "JPEG", progressive=True),
            "grey.jpg": encode(grey, "JPEG"),
            "cmyk.jpg": encode(cmyk, "JPEG"),
            "rgb.png": encode(noise, "PNG"),
            "grey16.png": encode(wide, "PNG"),
            "palette.png": encode(palette, "PNG"),
            "interlaced.png": interlaced_png(noise),
            "a.gif": encode(palette, "GIF"),
            "lossy.webp": encode(noise, "WEBP"),
            "lossless.webp": encode(noise, "WEBP", lossless=True),
            "raw.tiff": encode(noise, "TIFF"),
            "lzw.tiff": encode(noise, "TIFF", compression="tiff_lzw"),
            "float.tiff": encode(noise[..., 0].astype("f4"), "TIFF"),
            "a.bmp": encode(noise, "BMP"),
            "a.ppm": encode(noise, "PPM"),
            "a.jp2": encode(noise, "JPEG2000"),
        }
        for name, data in files.items():
            for percent in range(10, 100, 10):
                part = data[: len(data) * percent // 100]
                self._bad(f"truncated/{percent}-{name}", part, DAMAGED)
        for name in ("baseline.jpg", "grey.jpg", "cmyk.jpg"):
            for percent in (30, 50, 90):
                part = files[name][: len(files[name]) * percent // 100]
                self._bad(
                    f"ended/{percent}-{name}",
                    part + b"\xff\xd9",
                    "data end early|damaged",
                )
        for name in ("baseline.jpg", "progressive.jpg", "rgb.png", "a.gif"):
            data = files[name]
            half = len(data) // 2
            if name != "a.gif":  # a GIF of zeros is a GIF
                zeros = bytes(len(data) - half)
                self._bad(f"zeros/{name}", data[:half] + zeros, DAMAGED)
            self._bad(f"no-head/{name}", data[half:], DAMAGED)
        self._bad("no-end-marker.jpg", files["baseline.jpg"][:-2], "truncated")
        broken = bytearray(files["rgb.png"])
        broken[len(broken) // 2] ^= 0xFF
        self._bad("checksum.png", bytes(broken), DAMAGED)
        nan = np.full((8, 8), np.nan, np.float32)
        self._bad("nan.tiff", encode(nan, "TIFF"), "not finite")

    def _not_images(self):
        kind = "not an image"
        empty = io.BytesIO()
        with gzip.GzipFile(fileobj=empty, mode="wb") as file:
            file.write(encode(self._photo, "PNG"))
        heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400)
        svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9"/>'
        eps = (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"
            b"%%EndComments\n(pwned) print\n%%EOF\n"
        )
        for name, data, reason in (
            ("empty.jpg", b"", "empty"),
            ("text.jpg", b"not an image at all", kind),
            ("page.jpg", b"<!DOCTYPE html><html>404</html>", kind),
            ("drawing.svg", svg, kind),
            ("drawing.jpg", svg, kind),
            ("compressed.png", empty.getvalue(), kind),
            ("photo.heic", heic, kind),
            ("paper.pdf", b"%PDF-1.7\n" + bytes(200), kind),
            ("program.jpg", b"\x7fELF" + bytes(2000), kind),
            ("pickle.png", b"\x80\x04\x95" + b"." * 100, kind),
            ("zeros.jpg", bytes(10_000), DAMAGED),
            ("noise.png", np.random.default_rng(3).bytes(10_000), DAMAGED),
            ("magic-only.png", b"\x89PNG\r\n\x1a\n", DAMAGED),
            ("magic-only.jpg", b"\xff\xd8\xff", DAMAGED),
            ("magic-only.gif", b"GIF89a", DAMAGED),
            ("magic-only.webp", b"RIFF\0\0\0\0WEBP", DAMAGED),
            ("program.eps", eps, "drawing"),
            ("program-eps.jpg", eps, "drawing"),
            ("header-only.jpg", encode(self._photo, "JPEG")[:300], DAMAGED),
            ("no-width.png", png([], 0, 5, 8, 2), DAMAGED),
            ("no-height.png", png([], 5, 0, 8, 2), DAMAGED),
            ("no-size.bmp", b"BM" + bytes(60), DAMAGED),
            ("no-size.ppm", b"P6 0 0 255\n", DAMAGED),
            ("bad-number.ppm", b"P6 9x9 255\n", DAMAGED),
        ):
            self._bad(name, data, reason)
        zero = bytearray(encode(self._photo, "JPEG"))
        size = zero.index(b"\xff\xc0") + 5
        zero[size : size + 4] = bytes(4)
        self._bad("no-size.jpg", bytes(zero), DAMAGED)

    def _bombs(self):
        pixels = "decompression bomb"
        row = bytes(12_500)  # of 100,000 bits
        self._bad(
            "100000x100000.png", png([row] * 3, 100_000, 100_000, 1, 0), pixels
        )
        # Above Pillow's limit, where it only warns
        whole = png([bytes(1_250)] * 10_000, 10_000, 10_000, 1, 0)
        self._bad("10000x10000.png", whole, pixels)
        large = bytearray(encode(self._photo, "JPEG"))
        size = large.index(b"\xff\xc0") + 5
        large[size : size + 4] = struct.pack(">HH", 65_500, 65_500)
        self._bad("65500x65500.jpg", bytes(large), pixels)
        self._bad("huge.ppm", b"P6 60000 60000 255\n" + bytes(50), pixels)
        screen = bytearray(encode(self._grey, "GIF"))
        screen[6:10] = b"\xff" * 4
        self._bad("huge.gif", bytes(screen), pixels)
        zeros = zlib.compress(bytes(200_000_000))
        for kind, data in (
            (b"zTXt", b"Comment\0\0" + zeros),
            (b"iCCP", b"icc\0\0" + zeros),
            (b"iTXt", b"Comment\0\1\0\0\0" + zeros),
        ):
            row = bytes(3 * 8)
            self._bad(
                f"{kind.decode()}.png",
                png([row] * 8, 8, 8, 8, 2, extra=png_chunk(kind, data)),
                "damaged|too large",
            )
        self._bad("scans.jpg", many_scans(600), "scans")

    def _not_files(self):
        self._bad("missing.jpg", None, "does not exist")
        self._bad("a.png/inside.png", None, "does not exist")
        self._bad(f"{'n' * 300}.png", None, "too long")
        self._bad("null\0byte.png", None, "null byte")
        os.mkdir(self.folder / "folder.jpg")
        self._bad("folder.jpg", None, "folder")
        for name, target, reason in (
            ("loop-a.png", "loop-b.png", "loop"),
            ("loop-b.png", "loop-a.png", "loop"),
            ("dangling.png", "nowhere.png", "does not exist"),
            ("zero-device.png", "/dev/zero", "device"),
            ("null-device.png", "/dev/null", "device"),
            ("random-device.png", "/dev/urandom", "device"),
        ):
            os.symlink(target, self.folder / name)
            self._bad(name, None, reason)
        os.mkfifo(self.folder / "pipe.jpg")
        self._bad("pipe.jpg", None, "pipe")
        # Its own path would be too long for a socket
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind("socket.jpg")
        finally:
            os.chdir(here)
        self._bad("socket.jpg", None, "socket")


def make_corpus(folder) -> list[Entry]:
    """Writes the corpus into an empty folder.

    Returns:
        the list of its entries
    """
    return Corpus(folder).entries
