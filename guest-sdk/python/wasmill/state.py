"""The documents of a plugin."""

import json

from . import host

_PAGE = 128
_UNREAD = object()


class State:
    """The documents as one batch sees them.

    Each is read and written once a batch: changes stay here until the batch ends, and nothing outlives it, since the
    host may roll it back.
    """

    def __init__(self):
        #: By collection and key; None where there is no document.
        self._documents = {}
        #: Which of them are to be written: by collection, keys in the order of their first change.
        self._changed = {}

    def get(self, collection, key):
        """A copy of the document under `key`, or None."""
        return _copy(self._read(collection, key))

    def edit(self, collection, key, default=None):
        """The document under `key`, to be changed in place; a copy of `default` where there is none."""
        document = self._read(collection, key)
        if document is None:
            document = _copy(default)
        self._set(collection, key, document)
        return document

    def put(self, collection, key, document):
        """Sets the document under `key`, without reading what was there."""
        self._set(collection, key, _copy(document))

    def remove(self, collection, key):
        """Removes the document under `key`, if there is one."""
        self._set(collection, key, None)

    def scan(self, collection, prefix=""):
        """Yields the key and document of all whose keys begin with `prefix`, in the byte order of their keys."""
        after = None
        while True:
            # Now, so that the page shows what has been changed so far.
            self.save()
            page = host.imports.state.scan(collection, prefix, after, _PAGE)
            for entry in page.entries:
                yield entry.key, json.loads(entry.value)
            after = page.next_after
            if after is None:
                return

    def expect(self, documents):
        """Notes that documents will be read: pairs of collection and key."""
        for collection, key in documents:
            self._collection(collection).setdefault(_checked(collection, key), _UNREAD)

    def load(self):
        """Loads all that is expected, in one call of the host."""
        wanted = {}
        for collection, documents in self._documents.items():
            keys = [key for key, document in documents.items() if document is _UNREAD]
            if keys:
                wanted[collection] = keys
        if wanted:
            for collection, documents in json.loads(host.imports.state_json.load(to_json(wanted))).items():
                self._documents[collection].update(documents)

    def save(self):
        """Hands every change to the host, in one call, and forgets what was read."""
        changes = {
            collection: {key: self._documents[collection][key] for key in keys}
            for collection, keys in self._changed.items()
        }
        self._documents, self._changed = {}, {}
        if changes:
            host.imports.state_json.save(to_json(changes))

    def _collection(self, collection):
        documents = self._documents.get(collection)
        if documents is None:
            documents = self._documents[collection] = {}
        return documents

    def _read(self, collection, key):
        documents = self._collection(collection)
        document = documents.get(key, _UNREAD)
        if document is _UNREAD:
            loaded = host.imports.state_json.load(to_json({collection: [_checked(collection, key)]}))
            document = documents[key] = json.loads(loaded)[collection][key]
        return document

    def _set(self, collection, key, document):
        self._collection(collection)[_checked(collection, key)] = document
        changed = self._changed.get(collection)
        if changed is None:
            changed = self._changed[collection] = {}
        changed[key] = None


def to_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _checked(collection, key):
    # As JSON it would go through, and come back under another name.
    if not isinstance(key, str):
        raise TypeError(f"a key of {collection} is not a string: {key!r}")
    return key


def _copy(document):
    """A copy of what JSON can hold; what it cannot hold is refused where it is put, not when the batch is saved."""
    if isinstance(document, dict):
        return {_checked("a document", name): _copy(value) for name, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [_copy(value) for value in document]
    if document is None or isinstance(document, (str, bool, int, float)):
        return document
    raise TypeError(f"a document must be JSON, which {type(document).__name__} is not")
