"""A thread that waits for the lock of a folder."""

import threading
from pathlib import Path

from xeval.support import locks


def start_waiting(folder: Path, say=lambda line: None) -> tuple[threading.Thread, threading.Event]:
    entered = threading.Event()

    def work() -> None:
        with locks.locked(folder, say):
            entered.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, entered
