"""The hub as the stock Python client sees it: python3 test/hub.py URL. Each check prints `ok NAME`."""
import json
import sys
import threading
import urllib.request

from signalrcore.hub_connection_builder import HubConnectionBuilder

url = sys.argv[1]
PATIENCE_S = 30


def publish(stream, first, count):
    events = [{"type": "counted", "data": {"n": n}} for n in range(first, first + count)]
    request = urllib.request.Request(
        f"{url}/api/event-streams/{stream}/events",
        data=json.dumps(events).encode(),
        headers={"content-type": "application/json"},
    )
    assert urllib.request.urlopen(request, timeout=PATIENCE_S).status == 201


class Client:
    def __init__(self):
        self.calls, self.changed = [], threading.Condition()
        self.connection = HubConnectionBuilder().with_url(f"{url}/hubs/events").build()
        opened = threading.Event()
        self.connection.on_open(opened.set)
        self.connection.on("SubscriptionConfirmed", lambda arguments: self.called("confirmed", arguments))
        self.connection.on("EventReceived", lambda arguments: self.called("event", arguments))
        self.connection.on("Error", lambda arguments: self.called("error", arguments))
        # What a call was refused with; the package has no other place for it.
        self.connection.on_error(lambda message: self.called("refused", message.error))
        self.connection.start()
        assert opened.wait(PATIENCE_S), "it is open"

    def called(self, what, arguments):
        with self.changed:
            self.calls.append((what, arguments))
            self.changed.notify_all()

    def until(self, what, count):
        with self.changed:
            found = lambda: [arguments for kind, arguments in self.calls if kind == what]
            assert self.changed.wait_for(lambda: len(found()) >= count, PATIENCE_S), (what, self.calls[-3:])
            return found()

    def ask(self, method, arguments):
        answered, answer = threading.Event(), []
        self.connection.send(method, arguments, lambda message: (answer.append(message), answered.set()))
        assert answered.wait(PATIENCE_S), f"{method} is answered"
        return answer[0]


client = Client()
publish("py-1", 0, 50)
result = client.ask("SubscribeToStream", ["py-1", 0]).result
assert result == {"streamName": "py-1", "nextOffset": 0}, result
publish("py-1", 50, 50)
events = client.until("event", 100)
assert [event["offset"] for _, event in events] == list(range(100)), "no gap, no repeat"
assert [event["data"]["n"] for _, event in events] == list(range(100))
assert client.calls[0] == ("confirmed", ["py-1"]), client.calls[0]
print("ok history and live events come once and in order")

client.connection.send("SubscribeToStream", ["py-1", -1])
client.connection.send("Fly", [])
refused = client.until("refused", 2)
assert refused[0].startswith("invalid_argument: startFromOffset"), refused
assert refused[1].startswith("not_found: "), refused
print("ok what is wrong is told")

client.ask("SubscribeToStream", ["py-2", None])
client.ask("UnsubscribeFromStream", ["py-1"])
publish("py-1", 100, 5)
publish("py-2", 0, 5)
events = client.until("event", 105)
assert [(name, event["offset"]) for name, event in events[100:]] == [("py-2", n) for n in range(5)], events[100:]
print("ok a stream that was unsubscribed is silent")
client.connection.stop()
