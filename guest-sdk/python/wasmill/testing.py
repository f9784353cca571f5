"""A host in memory, to test plugins with in Python: no Wasm, no server.

    host = Harness(plugin)
    host.feed([{"stream": "order-1", "type": "order.placed", "data": {"customer": "c1"}}])
    assert host.get("customers", "c1") == {"orders": 1}
"""

import datetime
import enum
import json
from types import SimpleNamespace

from . import host

_BATCH = 256
_CALLS = {"projection": "apply", "handler": "handle", "upcaster": "upcast"}


class Harness:
    """Feeds a plugin events as a host does: numbered, in batches, all or nothing each."""

    def __init__(self, plugin, batch=_BATCH, config=None):
        self._plugin = plugin
        self._batch = batch
        self._position = 0
        self._offsets = {}
        self._events = []
        self.descriptor = json.loads(plugin.describe())
        defaults = {setting["name"]: setting.get("default") for setting in self.descriptor.get("config", [])}
        settings = {**defaults, **(config or {})}
        self._config = {name: value for name, value in settings.items() if value is not None}
        #: JSON by collection and key.
        self.documents = {}
        #: What a handler has appended, with `stream`, and `cause` as the position of the event that it answers.
        self.appended = []
        self.log = []

    def feed(self, events):
        """Feeds events as in the lines that `wasmill publish` takes; stream and type are required.

        Returns what an upcaster makes of each, None for unchanged. Raises the plugin's failure; its batch is rolled
        back then.
        """
        results = []
        for start in range(0, len(events), self._batch):
            results += self._feed(events[start : start + self._batch])
        return results

    def get(self, collection, key):
        """A document, or None."""
        text = self.documents.get((collection, key))
        return None if text is None else json.loads(text)

    def all(self, collection):
        """The documents of a collection by their keys, in the byte order of these."""
        return {key: self.get(collection, key) for key in self._keys(collection, "")}

    def _keys(self, collection, prefix):
        keys = [key for of, key in self.documents if of == collection and key.startswith(prefix)]
        return sorted(keys, key=lambda key: key.encode())

    def _feed(self, events):
        before = dict(self.documents), list(self.appended)
        self._first, self._events = self._position, events
        host.imports = self._imports()
        call = getattr(self._plugin, _CALLS[self._plugin.kind])
        try:
            return json.loads(call(json.dumps([self._number(**event) for event in events])) or "[]")
        except Exception:
            self.documents, self.appended = before
            raise

    def _number(self, stream, type, time="1970-01-01T00:00:00Z", details=None, **rest):
        event = {"position": self._position, "offset": self._offsets.get(stream, 0), "timeUs": _microseconds(time)}
        self._offsets[stream] = event["offset"] + 1
        self._position += 1
        event["id"] = f"00000000-0000-7000-8000-{event['position']:012}"
        return {**event, "type": type, "schemaVersion": 1, "stream": stream, **rest}

    def _imports(self):
        """What a component would import."""
        return SimpleNamespace(
            state=SimpleNamespace(scan=self._scan),
            state_json=SimpleNamespace(load=self._load, save=self._save),
            outbox_json=SimpleNamespace(append=self._append),
            event_details=SimpleNamespace(attributes_of=lambda index: self._events[index].get("details", [])),
            config=SimpleNamespace(get=self._config.get, get_all=self._config.items),
            env=SimpleNamespace(now_us=lambda: 0, random=bytes),
            log=SimpleNamespace(Level=_Level, write=lambda *line: self.log.append(line)),
        )

    def _load(self, wanted):
        wanted = json.loads(wanted).items()
        return json.dumps({of: {key: self.get(self._declared(of), key) for key in keys} for of, keys in wanted})

    def _save(self, changes):
        for collection, documents in json.loads(changes).items():
            for key, document in documents.items():
                if document is None:
                    self.documents.pop((self._declared(collection), key), None)
                else:
                    self.documents[self._declared(collection), key] = json.dumps(document)

    def _scan(self, collection, prefix, after, limit):
        keys = [key for key in self._keys(self._declared(collection), prefix) if after is None or key > after]
        page = [SimpleNamespace(key=key, value=self.documents[collection, key].encode()) for key in keys[:limit]]
        return SimpleNamespace(entries=page, next_after=keys[limit - 1] if len(keys) > limit else None)

    def _append(self, appends):
        for append in json.loads(appends):
            place = {"cause": self._first + append["cause"], "stream": append["stream"]}
            self.appended += [{**place, **event} for event in append["events"]]

    def _declared(self, collection):
        """As a host, refuses a collection that the descriptor does not name."""
        if collection not in [declared["name"] for declared in self.descriptor.get("collections", [])]:
            raise ValueError(f"the collection {collection} is not in the descriptor")
        return collection


class _Level(enum.Enum):
    TRACE, DEBUG, INFO, WARN, ERROR = range(5)


def _microseconds(time):
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    since = datetime.datetime.fromisoformat(time.replace("Z", "+00:00")) - epoch
    return since // datetime.timedelta(microseconds=1)
