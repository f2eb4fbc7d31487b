"""Faults for tests to inject, and how many of them were survived.

A test that injects one says so: ``record_property("fault", "what it was")``,
once for each. What it survived is what it passed with.
"""

import csv
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

# Where the count goes, as CSV, if it is to be kept
_CSV = "FIFTYONE_IQA_FAULTS_CSV"
_NOBODY = 65534


class Summary:
    """A pytest plugin that counts faults injected and survived."""

    def __init__(self):
        self.found = []

    def pytest_runtest_logreport(self, report):
        """Notes the faults of a test that has run."""
        if report.when != "call":
            return
        for key, value in report.user_properties:
            if key == "fault":
                self.found.append((value, report.nodeid, report.passed))

    def pytest_terminal_summary(self, terminalreporter):
        """Says how many faults were survived."""
        if not self.found:
            return
        n_survived = sum(survived for *_, survived in self.found)
        terminalreporter.write_line(
            f"Faults survived: {n_survived} of {len(self.found)} injected"
        )
        if os.environ.get(_CSV):
            with open(os.environ[_CSV], "w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["fault", "test", "survived"])
                writer.writerows(self.found)


def python(code, *arguments, **kwargs):
    """Starts a Python process with this one's path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        text=True,
        **{"env": env, **kwargs},
    )


def kill_all(*processes):
    """Ends the processes that a test leaves behind when it fails."""
    for process in processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


class Mongod:
    """A database server of a test's own, to be killed and started again.

    Attributes:
        uri: of the server; a client that does not find it gives up soon
        process: of the server that runs, or None
    """

    def __init__(self, folder):
        import fiftyone

        self._binary = Path(fiftyone.__file__).parent / "db/bin/mongod"
        if not self._binary.is_file():
            pytest.skip(f"NOT RUN: no {self._binary}")
        self._folder = Path(folder)
        (self._folder / "data").mkdir(parents=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self._port = s.getsockname()[1]
        self.uri = (
            f"mongodb://127.0.0.1:{self._port}/?serverSelectionTimeoutMS=2000"
        )
        self.process = None

    def start(self):
        """Starts it on the folder's data and waits until it answers."""
        command = [self._binary, "--dbpath", self._folder / "data"]
        command += ["--port", self._port, "--bind_ip", "127.0.0.1"]
        command += ["--logpath", self._folder / "log", "--logappend"]
        command += ["--wiredTigerCacheSizeGB", "0.25", "--nounixsocket"]
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            assert self.process.poll() is None, "mongod does not start"
            assert time.monotonic() < deadline, "mongod does not answer"
            time.sleep(0.05)

    def kill(self):
        """Kills it: no farewell to clients, nothing flushed to the disk."""
        self.process.kill()
        self.process.wait()


@contextmanager
def small_disk(folder, size):
    """Mounts an empty disk of a size, such as ``"1m"``, on a new folder.

    Yields a function that makes it another size.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        reason = done.stderr.strip() if done.returncode else None
    except OSError as e:
        reason = str(e)
    if reason:
        pytest.skip(f"NOT RUN: no small disk can be mounted ({reason})")

    def resize(size):
        options = f"remount,size={size}"
        subprocess.run(["mount", "-o", options, folder], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def without_privileges():
    """Takes root's right to read and write everything away, for a while."""
    if not hasattr(os, "geteuid"):
        pytest.skip("NOT RUN: permissions are another matter on Windows")
    root = os.geteuid() == 0
    if root:
        os.setegid(_NOBODY)
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
