"""What Ray runs in its workers: the work of a task, and the mailbox that it reports to.

This module imports nothing that reads the environment, as huggingface_hub does when it is imported: Ray imports this
module before `work` sets the variables.
"""

import os
import platform
from typing import Any

Event = tuple[int, str, str]  # number of the run, kind of event, text


class Mailbox:
    """A Ray actor that keeps the messages of runs until the driver asks for them."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    def put(self, event: Event) -> None:
        self._events.append(event)

    def take(self) -> list[Event]:
        events, self._events = self._events, []
        return events


def work(number: int, request: str, environment: dict[str, str], mailbox: Any) -> str:
    """Execute a run on the machine that Ray has chosen, with the variables of `environment` that it does not set."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)

    def send(kind: str, text: str) -> None:
        mailbox.put.remote((number, kind, text))

    send("starts", platform.node())
    from xeval.runs.progress_table import Sender
    from xeval.runs.requests import RunRequest, attempt
    from xeval.support.termination import Terminated, listen

    listen()
    try:
        return attempt(RunRequest.model_validate_json(request), Sender(send)).model_dump_json()
    except Terminated:
        os._exit(143)  # the training is saved; Ray takes it for a lost worker and starts the run again
