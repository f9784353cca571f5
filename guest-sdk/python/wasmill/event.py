"""What is known of an event."""

from . import host


class Event:
    """An event of the present batch. `data` is parsed; data that is not JSON is in `bytes`, and `data` is None."""

    type: str
    stream: str
    #: The ordering key, or None.
    key = None
    #: Place in the whole log, and in its stream, both from 0.
    position: int
    offset: int
    #: A UUID.
    id: str
    data = None

    def __init__(self, fields):
        # The parsed object is the instance: copying each field would cost more than everything else here.
        self.__dict__ = fields

    @property
    def time_us(self):
        """When it happened, in microseconds since the Unix epoch: a projection's only clock."""
        return self.__dict__["timeUs"]

    @property
    def schema_version(self):
        """The version of its schema, after upcasting."""
        return self.__dict__["schemaVersion"]

    @property
    def correlation_id(self):
        return self.__dict__.get("correlationId")

    @property
    def bytes(self):
        """Data that is not JSON, as it was published; None for JSON."""
        # Not needed by most, and not free to have.
        from base64 import b64decode

        text = self.__dict__.get("dataBase64")
        return None if text is None else b64decode(text)

    def details(self):
        """What is rarely read, as a dict of strings; several tags are joined by commas. Asks the host."""
        found = {}
        for name, value in host.imports.event_details.attributes_of(host.batch.index(self)):
            found[name] = f"{found[name]},{value}" if name in found else value
        return found
