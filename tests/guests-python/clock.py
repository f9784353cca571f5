"""A projection that does what a projection must not: it looks at the clock, rolls dice and waits.

An event's type says what; what it found stands in `found` under the event's position.
"""

import datetime
import random
import time
import uuid

from wasmill import Projection

plugin = Projection(
    name="clock-py",
    version="1.0.0",
    collections=[{"name": "found"}],
)

seen = 0


@plugin.on("nothing")
def nothing(event, state):
    state.put("found", str(event.position), {})


@plugin.on("clock")
def clock(event, state):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    state.put("found", str(event.position), {"time": time.time(), "perf": time.perf_counter(), "now": now})


@plugin.on("dice")
def dice(event, state):
    state.put("found", str(event.position), {"random": random.random(), "uuid": str(uuid.uuid4())})


@plugin.on("memory")
def memory(event, state):
    # Kept in the instance, which a rebuild does not share.
    global seen
    seen += 1
    state.put("found", str(event.position), {"seen": seen})


@plugin.on("timer")
def timer(event, state):
    time.sleep(1)
