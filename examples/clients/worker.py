#!/usr/bin/env python3
"""A member of a consumer group over HTTP, with nothing but Python's standard library.

    python3 worker.py [URL]          a host at URL, by default http://127.0.0.1:7400

Publishes a few orders, charges them as a worker of the group `billing`, and gives up the one that cannot be
charged. Ends when it has nothing left to do; a real worker asks again for ever.
"""

import json
import os
import sys
import threading
import urllib.error
import urllib.request

URL = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7400").rstrip("/")
# Longer than the longest wait that is asked for below.
TIMEOUT_SECONDS = 60


class Refused(Exception):
    """The host's answer to a call that it did not do."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.code = problem["code"]
        # The same call may succeed later.
        self.retryable = problem["retryable"]


def call(method, path, body=None):
    headers = {"content-type": "application/json"}
    if token := os.environ.get("WASMILL_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.loads(answer.read() or "null")
    except urllib.error.HTTPError as error:
        raise Refused(json.loads(error.read())) from None


class Member:
    """A joined member. Tells the host that it is alive, also while an event takes long."""

    def __init__(self, group, name):
        self.path = f"/api/groups/{group}"
        self.session = call("POST", f"{self.path}/members", {"member": name})["session"]
        self.leaving = threading.Event()
        self.heart = threading.Thread(target=self._beat, daemon=True)
        self.heart.start()

    def _beat(self):
        # A third of the session timeout that groups have by default.
        while not self.leaving.wait(10):
            try:
                self._call("heartbeat")
            except (Refused, OSError):
                # The next call of the worker finds out.
                return

    def _call(self, what, **body):
        return call("POST", f"{self.path}/{what}", {"session": self.session, **body})

    def pull(self, limit, wait_ms):
        return self._call("pull", limit=limit, waitMs=wait_ms)["deliveries"]

    def ack(self, delivery):
        return self._call("ack", tokens=[delivery["token"]])["outcomes"][0]

    def nack(self, delivery, **refusal):
        return self._call("nack", tokens=[delivery["token"]], refusal=refusal)["outcomes"][0]

    def leave(self):
        self.leaving.set()
        # Gives back what it has, which is no attempt.
        call("DELETE", f"{self.path}/members/{self.session}")


class Never(Exception):
    """It cannot be done, however often it is tried."""


def charge(event):
    if event["data"]["pence"] < 0:
        raise Never("a price below zero")
    print("charged", event["stream"], event["data"]["pence"])


def work(member):
    while deliveries := member.pull(limit=10, wait_ms=1_000):
        for delivery in deliveries:
            try:
                charge(delivery["event"])
            except Never as why:
                member.nack(delivery, park=str(why))
            except Exception as why:  # pylint: disable=broad-except
                # Comes again after a rest, until the group's `maxDeliveries` are used up.
                member.nack(delivery, retry=str(why))
            else:
                if member.ack(delivery) == "superseded":
                    # It took too long: someone else has it, and this work is done twice.
                    print("too late for", delivery["event"]["id"])


def main():
    call("PUT", "/api/groups/billing", {"config": {"streams": ["order-*"], "maxDeliveries": 3}})
    for order, pence in [("order-1", 1999), ("order-2", -5), ("order-1", 500), ("order-3", 750)]:
        call("POST", f"/api/event-streams/{order}/events", {"type": "order.placed", "data": {"pence": pence}})
    member = Member("billing", "worker-1")
    try:
        work(member)
    finally:
        member.leave()
    for letter in call("GET", "/api/groups/billing/dead-letters")["deadLetters"]:
        print(f"dead letter {letter['event']['stream']}: {letter['error']}")


if __name__ == "__main__":
    main()
