"""Live progress of an SDK call in the App."""

import queue
import threading

import fiftyone as fo

_SECONDS_BETWEEN_UPDATES = 0.5


def stream(ctx, call, label):
    """Runs an SDK call in a thread and yields its progress to the App.

    Args:
        ctx: the execution context
        call: callable that takes a FiftyOne ``progress`` argument
        label: what the progress bar says

    Yields:
        messages for the App

    Returns:
        what ``call`` returns; its exceptions are raised here
    """
    events = queue.SimpleQueue()

    def on_progress(bar):
        events.put((bar.progress, bar.total))

    def run():
        try:
            progress = fo.report_progress(
                on_progress, dt=_SECONDS_BETWEEN_UPDATES
            )
            events.put(("done", call(progress)))
        except BaseException as e:  # handed to the thread that waits
            events.put(("failed", e))

    yield ctx.ops.set_progress(label=f"{label}: starting…", progress=0)
    threading.Thread(target=run, daemon=True).start()
    while True:
        kind, value = events.get()
        if kind == "done":
            yield ctx.ops.set_progress(label=f"{label}: done", progress=1)
            return value
        if kind == "failed":
            raise value
        yield ctx.ops.set_progress(
            label=f"{label}: {kind:.0%} of {value:,}", progress=kind
        )


def delegated(ctx, call, label):
    """Runs an SDK call in a delegated operation.

    Args:
        ctx: the execution context
        call: callable that takes a FiftyOne ``progress`` argument
        label: what the run's progress says

    Returns:
        what ``call`` returns
    """
    return call(
        fo.report_progress(
            lambda bar: ctx.set_progress(progress=bar.progress, label=label),
            dt=5.0,
        )
    )
