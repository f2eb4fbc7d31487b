"""The entry of worker processes, and how one talks to them.

``python -m fiftyone_iqa.scoring.worker`` answers pickled jobs on its standard
input with pickled results on its standard output. Its first answer is
:data:`READY`, or why it cannot load the preparers. Workers start from this
module, so that a user's script is never imported again and a threaded server
is never forked; it imports neither torch nor fiftyone.
"""

from __future__ import annotations

import pickle
import struct
import sys

from fiftyone_iqa.scoring.prepare import prepare

READY = "ready"
_LENGTH = struct.Struct("!Q")


def send(stream, message) -> None:
    """Writes a message to a binary stream."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream):
    """Reads a message from a binary stream.

    Raises:
        EOFError: if the other side is gone
    """
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Serves jobs until the parent closes the pipe or dies."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a print must not corrupt the protocol
    try:
        try:
            preparers = receive(stdin)
        except EOFError:
            raise
        except Exception as e:  # a module that only the parent can import
            send(stdout, f"{type(e).__name__}: {e}")
            return
        send(stdout, READY)
        while True:
            send(stdout, prepare(receive(stdin), preparers))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


if __name__ == "__main__":
    main()
