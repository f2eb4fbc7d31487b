"""Worker processes that answer messages, and how one talks to them.

A worker is ``python -m`` of a module that calls :func:`serve`, which answers
pickled messages on its standard input with pickled answers on its standard
output. Workers start from such a module, so that a user's script is never
imported again and a threaded server is never forked, as ``multiprocessing``
would; this one imports nothing heavy.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from pathlib import Path

_LENGTH = struct.Struct("!Q")


_READY = "ready"


class SetupError(Exception):
    """A process cannot load what it is sent first; says why."""


class WorkerDiedError(Exception):
    """Two processes in a row died of a message, or the workers are closed."""


class Workers:
    """Processes, each of which is used by one thread at a time.

    Args:
        module: what to run, a module that calls :func:`serve`
        setup: what each process is sent first
        n: number of processes

    Raises:
        Exception: pickle's, if ``setup`` cannot be sent
        SetupError: if a process cannot load it
    """

    def __init__(self, module: str, setup, n: int):
        self._module = module
        self._setup = setup
        self._idle = queue.SimpleQueue()
        self._all = []
        self._lock = threading.Lock()
        self._closed = False
        try:
            # All at once: each takes tenths of a second to be ready
            for process in [self._start() for _ in range(n)]:
                self._await(process)
                self._idle.put(process)
        except Exception:
            self.close()
            raise

    def ask(self, message):
        """Returns a worker's answer.

        A worker that dies (killed, out of memory) is replaced and the
        message sent once more.

        Raises:
            WorkerDiedError: if the second died too, or all are closed
        """
        process = self._idle.get()
        try:
            for _ in range(2):
                try:
                    _send(process.stdin, message)
                    return _receive(process.stdout)
                except (EOFError, OSError):
                    self._end(process)
                    process = self._start()
                    self._await(process)
        finally:
            self._idle.put(process)
        raise WorkerDiedError

    def close(self) -> None:
        """Ends the processes, in the middle of a message too."""
        with self._lock:
            self._closed = True
            processes = list(self._all)
        for process in processes:
            self._end(process)

    def _start(self):
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), root])
        )
        with self._lock:
            if self._closed:
                raise WorkerDiedError
            process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                # Ctrl-C is for the parent, which then ends its workers
                start_new_session=True,
            )
            self._all.append(process)
        try:
            _send(process.stdin, self._setup)
        except OSError:
            pass  # dead already, as who asks it will see
        return process

    def _await(self, process):
        try:
            said = _receive(process.stdout)
        except (EOFError, OSError, ValueError):
            return  # dead or closed, as who asks it will see
        if said != _READY:
            raise SetupError(said)

    def _end(self, process):
        with self._lock:
            if process not in self._all:
                return
            self._all.remove(process)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                stream.close()
            except OSError:
                pass


def serve(answer) -> None:
    """Answers messages until the parent closes the pipe or dies.

    Args:
        answer: takes the setup and a message, returns the answer
    """
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a print must not corrupt the protocol
    try:
        try:
            setup = _receive(stdin)
        except EOFError:
            raise
        except Exception as e:  # of a module that only the parent can import
            _send(stdout, f"{type(e).__name__}: {e}")
            return
        _send(stdout, _READY)
        while True:
            _send(stdout, answer(setup, _receive(stdin)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def _send(stream, message):
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream):
    """Reads a message; EOFError if the other side is gone."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)
