"""Embeddings on disk: a new label set re-scores without decoding.

One SQLite file per cache space (encoder, precision, preprocessing), in
write-ahead mode, so that several processes may read and write it at once and
a killed one loses at most its last transaction. An entry knows the size and
modification time of the file it came from and is ignored when they changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    key BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, vector BLOB
) WITHOUT ROWID
"""
_MAX_VARIABLES = 500


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


def cache_info() -> dict:
    """Returns ``path``, ``n_files``, ``n_embeddings`` and ``bytes``."""
    files = _cache_files()
    n_embeddings = 0
    for path in files:
        with closing(_connect(path)) as connection:
            query = "SELECT COUNT(*) FROM embeddings"
            n_embeddings += connection.execute(query).fetchone()[0]
    return {
        "path": str(cache_dir()),
        "n_files": len(files),
        "n_embeddings": n_embeddings,
        "bytes": sum(_size_with_journals(path) for path in files),
    }


def clear_cache() -> int:
    """Deletes all cached embeddings.

    Returns:
        how many bytes were freed
    """
    freed = 0
    for path in _cache_files():
        freed += _size_with_journals(path)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    return freed


class EmbeddingCache:
    """The embeddings of one cache space. One instance per thread.

    Args:
        space: what identifies encoder, precision and preprocessing
        directory (None): by default :func:`cache_dir`
    """

    def __init__(self, space: str, directory=None):
        directory = Path(directory) if directory else cache_dir()
        directory.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", space.split("@")[0])[:60]
        digest = hashlib.sha256(space.encode()).hexdigest()[:12]
        self.path = directory / f"{stem}-{digest}.sqlite"
        self._connection = _connect(self.path)

    def get(self, sources) -> list[np.ndarray | None]:
        """Looks embeddings up.

        Args:
            sources: list of :class:`Source`

        Returns:
            list of ``(d,)`` float32 arrays, None where there is none or the
            file changed
        """
        found = {}
        keys = [source.key for source in sources]
        for start in range(0, len(keys), _MAX_VARIABLES):
            part = keys[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = (
                "SELECT key, size, mtime, vector FROM embeddings "
                f"WHERE key IN ({marks})"
            )
            for key, *row in self._connection.execute(query, part):
                found[key] = row

        return [
            self._fresh(source, found.get(source.key)) for source in sources
        ]

    def put(self, sources, vectors) -> None:
        """Stores embeddings.

        Args:
            sources: list of :class:`Source`; those of missing files are left
            vectors: ``(n, d)`` array
        """
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        rows = [
            (source.key, source.size, source.mtime, vector.tobytes())
            for source, vector in zip(sources, vectors)
            if source.size is not None
        ]
        with self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)", rows
            )

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    @staticmethod
    def _fresh(source, row):
        if row is None or source.size is None:
            return None
        size, mtime, vector = row
        if (size, mtime) != (source.size, source.mtime):
            return None
        return np.frombuffer(vector, dtype=np.float32)


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
    # Other processes write for milliseconds at a time
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(_SCHEMA)
    return connection


def _cache_files():
    directory = cache_dir()
    return sorted(directory.glob("*.sqlite")) if directory.is_dir() else []


def _size_with_journals(path):
    files = [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]
    return sum(file.stat().st_size for file in files if file.exists())
