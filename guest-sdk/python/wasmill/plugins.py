"""The kinds of plugins: what an author declares, and how a batch is run.

What is given to a kind's constructor is the descriptor: see wit/descriptor.schema.json.
"""

import json

from . import host
from .event import Event
from .failure import failure_of
from .state import State, to_json


class _Plugin:
    kind = ""

    def __init__(self, **descriptor):
        self.descriptor = {**descriptor, "kind": self.kind}

    def describe(self):
        return to_json(self.descriptor)


class _Folding(_Plugin):
    """A projection or a handler: it is fed events and keeps documents."""

    def __init__(self, **descriptor):
        super().__init__(**descriptor)
        self._by_type = {}
        self._documents = None
        self._else = None

    def on(self, *types):
        """Declares the function for events of these types; without types, for all that have none of their own."""

        def declare(function):
            if not types:
                self._else = function
            for event_type in types:
                self._by_type[event_type] = function
            return function

        return declare

    def documents(self, function):
        """Declares what of an event's documents will be read, as pairs of collection and key.

        The documents of a whole batch are then loaded together.
        """
        self._documents = function
        return function

    def _fold(self, text, *rest):
        # A failure names its event, so that the host need not search for it.
        index, state = None, State()
        try:
            host.batch = events = [Event(fields) for fields in json.loads(text)]
            if self._documents is not None:
                for index, event in enumerate(events):
                    state.expect(self._documents(event) or ())
                index = None
                state.load()
            for index, event in enumerate(events):
                function = self._by_type.get(event.type, self._else)
                if function is not None:
                    self._step(function, index, event, state, *rest)
            index = None
            state.save()
        except Exception as error:
            raise failure_of(error, index) from None


class Projection(_Folding):
    """Folds events into documents: `@plugin.on("order.placed")` over a function of event and state."""

    kind = "projection"

    def apply(self, events):
        self._fold(events)

    @staticmethod
    def _step(function, _index, event, state):
        function(event, state)


class Handler(_Folding):
    """Answers events with events, and may keep state.

    Its functions take event, state and `emit`: `emit(stream, {"type": ..., "data": ...}, ...)` appends, with
    `schemaVersion`, `key` and `attributes` if they are wanted. What is appended, the state and the progress are one
    commit, so nothing is appended twice. `capabilities=["append:PATTERN"]` asks for the streams.
    """

    kind = "handler"

    def handle(self, events):
        appends = []
        self._fold(events, appends)
        # Now: in a batch that fails nothing is appended.
        if appends:
            host.imports.outbox_json.append(to_json(appends))

    @staticmethod
    def _step(function, index, event, state, appends):
        def emit(stream, *events):
            appends.append({"cause": index, "stream": stream, "events": events})

        function(event, state, emit)


class Upcaster(_Plugin):
    """Lifts events of old schema versions, for every reader."""

    kind = "upcaster"

    def __init__(self, **descriptor):
        super().__init__(**descriptor, lifts=[])
        self._steps = {}

    def lift(self, event_type, version, to_version, to_type=None):
        """Declares the function that makes the newer data of the older: `lift(data, event)`.

        Steps chain by themselves: write one for each version. What it raises fails its event alone.
        """

        def declare(function):
            lift = {"type": event_type, "version": version, "toVersion": to_version}
            if to_type is not None:
                lift["toType"] = to_type
            self.descriptor["lifts"].append(lift)
            self._steps[event_type, version] = (function, to_type or event_type, to_version)
            return function

        return declare

    def upcast(self, events):
        try:
            host.batch = [Event(fields) for fields in json.loads(events)]
            return to_json([self._lifted(event) for event in host.batch])
        except Exception as error:
            raise failure_of(error) from None

    def _lifted(self, event):
        step = self._steps.get((event.type, event.schema_version))
        if step is None:
            return None
        function, to_type, to_version = step
        try:
            data = function(event.data, event)
            if data is None:
                # What a function without `return` gives would end the call, and with it the whole batch.
                raise TypeError(f"what lifts {event.type} must return its data")
            return {"type": to_type, "schemaVersion": to_version, "data": data}
        except Exception as error:
            failure = failure_of(error)
            return {"failed": {"code": failure.code, "message": failure.message}}
