"""Embeddings on disk: a new label set re-scores without decoding.

Two files per cache space (encoder, precision, preprocessing): vectors, one
after the other in a flat file that is mapped into memory, and an index of
them in SQLite, in write-ahead mode, so that several processes may read and
write at once and a killed one loses at most its last transaction. An entry
knows the size and modification time of the image it came from and is ignored
when they changed, and the checksum of its vector, since after a power failure
the index may know vectors that never reached the disk.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import re
import shutil
import sqlite3
import time
import zlib
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, slot INTEGER,
    checksum INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shape (dimension INTEGER, n_slots INTEGER);
"""
_MAX_VARIABLES = 500
_LOCK_SECONDS = 60
_SUFFIXES = ("", "-wal", "-shm", ".vectors")
_FAULTS = (OSError, sqlite3.Error)


def cache_dir() -> Path:
    """Returns the cache folder.

    ``$FIFTYONE_IQA_CACHE_DIR``, else ``fiftyone_iqa`` in
    ``$XDG_CACHE_HOME``, else in ``~/.cache``.
    """
    path = os.environ.get("FIFTYONE_IQA_CACHE_DIR")
    if path:
        return Path(path)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fiftyone_iqa"


def runs_dir() -> Path:
    """Returns the folder of trainings that have not ended; see confusion."""
    return cache_dir() / "confusion"


def cache_info() -> dict:
    """Returns ``path``, ``n_spaces``, ``n_embeddings`` and ``bytes``."""
    files = _cache_files()
    n_embeddings = 0
    for path in files:
        with closing(_connect(path)) as connection:
            query = "SELECT COUNT(*) FROM vectors"
            n_embeddings += connection.execute(query).fetchone()[0]
    return {
        "path": str(cache_dir()),
        "n_spaces": len(files),
        "n_embeddings": n_embeddings,
        "bytes": sum(_size(path) for path in files),
    }


def clear_cache() -> int:
    """Deletes all cached embeddings, and trainings that have not ended.

    Returns:
        how many bytes were freed
    """
    runs = [path for path in runs_dir().rglob("*") if path.is_file()]
    freed = sum(path.stat().st_size for path in runs)
    shutil.rmtree(runs_dir(), ignore_errors=True)
    for path in _cache_files():
        freed += _size(path)
        for suffix in _SUFFIXES:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    return freed


class EmbeddingCache:
    """The embeddings of one cache space. One instance per thread.

    Where the disk is full, or the folder cannot be written, it says so once
    and from then on holds and takes nothing: scores are what counts.

    Args:
        space: what identifies encoder, precision and preprocessing
        directory (None): by default :func:`cache_dir`
    """

    def __init__(self, space: str, directory=None):
        directory = Path(directory) if directory else cache_dir()
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", space.split("@")[0])[:60]
        digest = hashlib.sha256(space.encode()).hexdigest()[:12]
        self.path = directory / f"{stem}-{digest}.sqlite"
        self._connection = self._file = self._map = self._pages = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._connection = _connect(self.path)
            self._file = _open(f"{self.path}.vectors")
        except _FAULTS as e:
            self._give_up(e)

    def get(self, sources) -> list[np.ndarray | None]:
        """Looks embeddings up.

        Args:
            sources: list of :class:`Source`

        Returns:
            list of ``(d,)`` float32 arrays, None where there is none or the
            file changed
        """
        if self._file is not None:
            try:
                return self._get(sources)
            except _FAULTS as e:
                self._give_up(e)
        return [None] * len(sources)

    def put(self, sources, vectors) -> None:
        """Stores embeddings.

        Args:
            sources: list of :class:`Source`; those of missing files are left
            vectors: ``(n, d)`` array
        """
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        pairs = {
            source.key: (source, vector)
            for source, vector in zip(sources, vectors)
            if source.size is not None
        }
        if self._file is None or not pairs:
            return
        try:
            with self._writing():
                self._put(pairs, vectors.shape[1])
        except _FAULTS as e:
            self._give_up(e)

    def close(self) -> None:
        """Closes the files."""
        self._map = self._pages = None
        for opened in (self._file, self._connection):
            if opened is not None:
                opened.close()
        self._connection = self._file = None

    def _give_up(self, error):
        logger.warning(
            "Embeddings are not cached in %s: %s. Scoring goes on; make room "
            "there, or set FIFTYONE_IQA_CACHE_DIR",
            self.path,
            error,
        )
        self.close()

    def _get(self, sources):
        found = self._rows([source.key for source in sources])
        rows = [found.get(source.key) for source in sources]
        fresh = [
            i
            for i, (source, row) in enumerate(zip(sources, rows))
            if row is not None
            and source.size is not None
            and row[:2] == (source.size, source.mtime)
        ]
        vectors: list[np.ndarray | None] = [None] * len(sources)
        if not fresh:
            return vectors
        slots = np.array([rows[i][2] for i in fresh])
        for i, vector in zip(fresh, self._read(slots)):
            if zlib.crc32(vector) == rows[i][3]:
                vectors[i] = vector
        return vectors

    def _put(self, pairs, dimension):
        first = self._reserve(dimension, len(pairs))
        block = np.stack([vector for _, vector in pairs.values()])
        # Entries that are replaced leave their place unused
        _write(self._file, block, first * block[0].nbytes)
        self._connection.executemany(
            "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)",
            [
                (key, source.size, source.mtime, first + i, zlib.crc32(vector))
                for i, (key, (source, vector)) in enumerate(pairs.items())
            ],
        )

    def _rows(self, keys):
        """Returns ``{key: (size, mtime, slot, checksum)}`` of known keys."""
        found = {}
        for start in range(0, len(keys), _MAX_VARIABLES):
            part = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = (
                "SELECT key, size, mtime, slot, checksum FROM vectors "
                f"WHERE key IN ({marks})"
            )
            for key, *row in self._connection.execute(query, part):
                found[key] = tuple(row)
        return found

    def _read(self, slots):
        """Returns ``(n, d)`` copies of the vectors at slots.

        Those that lie beyond the end of a file that was cut short are zeros,
        whose checksum is no vector's.
        """
        if self._map is None or slots.max() >= len(self._map):
            self._remap()
        there = slots < len(self._map)
        vectors = np.zeros((len(slots), self._map.shape[1]), np.float32)
        vectors[there] = self._map[slots[there]]
        # What was read stays in the system's cache; this process lets it go
        if isinstance(self._pages, mmap.mmap) and hasattr(
            mmap, "MADV_DONTNEED"
        ):
            self._pages.madvise(mmap.MADV_DONTNEED)
        return vectors

    def _remap(self):
        dimension, _ = self._shape()
        n = os.fstat(self._file.fileno()).st_size // (dimension * 4)
        self._map, self._pages = None, b""
        if n:  # an empty file cannot be mapped
            self._pages = mmap.mmap(
                self._file.fileno(), n * dimension * 4, access=mmap.ACCESS_READ
            )
        flat = np.frombuffer(self._pages, np.float32)
        self._map = flat.reshape(n, dimension)

    def _shape(self):
        query = "SELECT dimension, n_slots FROM shape"
        return self._connection.execute(query).fetchone() or (0, 0)

    def _reserve(self, dimension, n):
        """Returns the first of ``n`` new slots, inside a transaction."""
        known, first = self._shape()
        if known == 0:
            self._connection.execute("INSERT INTO shape VALUES (0, 0)")
        elif known != dimension:
            raise ValueError(
                f"{self.path} holds vectors of {known} numbers, not "
                f"{dimension}"
            )
        self._connection.execute(
            "UPDATE shape SET dimension = ?, n_slots = ?",
            (dimension, first + n),
        )
        return first

    @contextmanager
    def _writing(self):
        """A transaction that no other writer is in, from its first look on."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield


class Source:
    """What an embedding was made from, as the cache identifies it.

    Attributes:
        key: digest of the absolute path and the crop box, or of a text
        size: of the file, bytes; None if it does not exist
        mtime: of the file, ns
    """

    __slots__ = ("key", "mtime", "size")

    def __init__(self, key: bytes, size: int | None, mtime: int):
        self.key = key
        self.size = size
        self.mtime = mtime

    @classmethod
    def of_file(cls, path: str, crop_box=None) -> Source:
        """Identifies a file, or a region of it."""
        text = f"{os.path.abspath(path)}\0{crop_box and list(crop_box)}"
        try:
            stat = os.stat(path)
            return cls(_digest(text), stat.st_size, stat.st_mtime_ns)
        except (OSError, ValueError):  # of names with a null byte
            return cls(_digest(text), None, 0)

    @classmethod
    def of_text(cls, text: str) -> Source:
        """Identifies a text."""
        return cls(_digest(f"text\0{text}"), 0, 0)


def _digest(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _connect(path):
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        # Other processes write for milliseconds at a time
        connection = sqlite3.connect(path, timeout=_LOCK_SECONDS)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
            return connection
        except sqlite3.Error as e:
            connection.close()
            # Of processes that make the file at once, SQLite lets none wait
            if "locked" not in str(e) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _open(path):
    # Unbuffered: what is written is there for other processes at once
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)


def _write(file, block, offset):
    file.seek(offset)
    view = memoryview(block).cast("B")
    while view:
        view = view[file.write(view) :]


def _cache_files():
    directory = cache_dir()
    return sorted(directory.glob("*.sqlite")) if directory.is_dir() else []


def _size(path):
    files = [Path(f"{path}{suffix}") for suffix in _SUFFIXES]
    return sum(file.stat().st_size for file in files if file.exists())
