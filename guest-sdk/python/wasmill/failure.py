"""Why a call failed, and what the host should do about it."""


class Failure(Exception):
    """Raise one of the three below; everything that the batch changed is rolled back.

    `code` is stable and machine-readable.
    """

    disposition = "reject"

    def __init__(self, code, message, retry_after_ms=None, attributes=None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.attributes = attributes or {}
        #: Which event of the batch, set by the helper.
        self.event_index = None


class Reject(Failure):
    """This event can never work."""


class Retry(Failure):
    """Transient: the same input may work later, after `retry_after_ms` if that is given."""

    disposition = "retry"


class Halt(Failure):
    """The plugin itself cannot go on."""

    disposition = "halt"


def failure_of(error, index=None):
    """The failure for whatever was raised over the event at `index` of the batch."""
    failure = error if isinstance(error, Failure) else Reject("plugin.exception", _describe(error))
    failure.event_index = index
    return failure


def _describe(error):
    place, frame = "", error.__traceback__
    while frame is not None:
        place, frame = f" ({frame.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.tb_lineno})", frame.tb_next
    return f"{type(error).__name__}: {error}{place}"
