"""Write Wasmill plugins in Python. A plugin is the variable `plugin` of its module:

    from wasmill import Projection

    plugin = Projection(
        name="orders",
        version="1.0.0",
        subscribes=[{"streams": ["order-*"]}],
        collections=[{"name": "customers"}],
    )

    @plugin.documents
    def documents(event):
        return [("customers", event.data["customer"])]

    @plugin.on("order.placed")
    def placed(event, state):
        customer = state.edit("customers", event.data["customer"], {"orders": 0})
        customer["orders"] += 1

`python -m wasmill build` compiles it together with Python. A projection and an upcaster are functions of their events:
the time to use is `event.time_us`. Clocks, random numbers of the system, files and sockets are not there at all; what
is printed goes into the plugin's log.
"""

from .failure import Failure, Halt, Reject, Retry
from .host import config, env, log
from .plugins import Handler, Projection, Upcaster

__all__ = ["Failure", "Halt", "Handler", "Projection", "Reject", "Retry", "Upcaster", "config", "env", "log"]
