"""The seam to the contract, in a component only: `entry` is what the build has it run.

The classes are named after the interfaces that they export, as componentize-py wants it.
"""

import sys

from componentize_py_types import Err
from wit_world.imports import outcomes

from . import host
from .failure import Failure


class _Log:
    """Standard output and error: whole lines, into the plugin's log."""

    def __init__(self, write):
        self._write, self._line = write, ""

    def write(self, text):
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._write(line)
        return len(text)

    def flush(self):
        pass


def exports(plugin, imports):
    """The classes that export `plugin`, which is joined to what its world imports."""
    host.imports = imports
    sys.stdout, sys.stderr = _Log(host.log.info), _Log(host.log.warn)

    class Descriptor:
        def describe(self):
            return plugin.describe()

    class ProjectionJson:
        def apply(self, events):
            _call(plugin.apply, events)

    class HandlerJson:
        def handle(self, events):
            _call(plugin.handle, events)

    class UpcasterJson:
        def upcast(self, events):
            return _call(plugin.upcast, events)

    return Descriptor, {"projection": ProjectionJson, "handler": HandlerJson, "upcaster": UpcasterJson}[plugin.kind]


def _call(function, events):
    try:
        return function(events)
    except Failure as failure:
        raise Err(
            outcomes.Failure(
                outcomes.Disposition[failure.disposition.upper()],
                failure.code,
                failure.message,
                failure.retry_after_ms,
                failure.event_index,
                [(name, str(value)) for name, value in failure.attributes.items()],
            )
        ) from None
