"""Runs functions in processes that may be killed midway."""

import signal
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

BRIEF = """\
name = "brief"
description = "Two epochs of three batches of 8 pairs, the best of the two kept"
learning_rate = 2e-3
batch_size = 8
epochs = 2
max_length = 48
weight_decay = 0.01
seed = 3
"""


def answer_unless_killed(victims: BaseContext, target: Callable[..., None], *given: Any, **options: Any) -> Any:
    """What `target` sends through the pipe, its last argument; None if its process was killed."""
    receiver, sender = victims.Pipe(duplex=False)
    process = victims.Process(target=target, args=(*given, sender), kwargs=options)
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        answer = None
    process.join()
    receiver.close()
    assert process.exitcode == (-signal.SIGKILL if answer is None else 0)
    return answer
