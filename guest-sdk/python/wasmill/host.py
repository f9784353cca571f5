"""The host that runs the plugin, and the batch that it runs: what a plugin reaches beside its arguments."""

#: The interfaces that the plugin's world imports. Set once in a component, and before each call in tests.
imports = None

#: The events of the present batch.
batch = []


class config:
    """The plugin's configuration, fixed for the life of a revision."""

    @staticmethod
    def get(key):
        """The value of `key`, or None."""
        return imports.config.get(key)

    @staticmethod
    def all():
        return dict(imports.config.get_all())


class env:
    """Real time and random numbers. Handlers only: everything else is a function of its events."""

    @staticmethod
    def now_us():
        return imports.env.now_us()

    @staticmethod
    def random(length):
        return imports.env.random(length)


class log:
    """The plugin's log: `log.info(message, field=value)`."""

    @staticmethod
    def trace(message, **fields):
        _write("TRACE", message, fields)

    @staticmethod
    def debug(message, **fields):
        _write("DEBUG", message, fields)

    @staticmethod
    def info(message, **fields):
        _write("INFO", message, fields)

    @staticmethod
    def warn(message, **fields):
        _write("WARN", message, fields)

    @staticmethod
    def error(message, **fields):
        _write("ERROR", message, fields)


def _write(level, message, fields):
    log = imports.log
    log.write(log.Level[level], str(message), [(name, str(value)) for name, value in fields.items()])
