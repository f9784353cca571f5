"""Follows a stream through the SignalR hub with the package `signalrcore`.

    python3 signalr_follow.py [URL [STREAM [FROM]]]

URL is http://127.0.0.1:7400 if left out, FROM is an offset. Ends with the first event of the type `end`.
"""
import json
import sys
import threading

from signalrcore.hub_connection_builder import HubConnectionBuilder

url, stream, start = (sys.argv[1:] + ["http://127.0.0.1:7400", "order-1", "0"][len(sys.argv) - 1:])[:3]
place = {"next": int(start)}
ended = threading.Event()


def received(arguments):
    _, event = arguments
    place["next"] = event["offset"] + 1
    print(event["offset"], event["eventType"], json.dumps(event["data"]), flush=True)
    if event["eventType"] == "end":
        ended.set()


def complain(error):
    print(getattr(error, "error", error), file=sys.stderr, flush=True)


def follow():
    """One connection, until it is lost or all is done. The package's own reconnecting gives up when nobody
    listens at the moment, so the loop below is ours."""
    over = threading.Event()
    connection = HubConnectionBuilder().with_url(f"{url}/hubs/events").build()
    connection.on_open(lambda: connection.send("SubscribeToStream", [stream, place["next"]]))
    connection.on_close(over.set)
    connection.on_error(complain)
    connection.on("SubscriptionConfirmed", lambda arguments: print("subscribed to", arguments[0], flush=True))
    connection.on("EventReceived", received)
    connection.on("Error", lambda arguments: complain(arguments[0]))
    connection.start()
    while not over.wait(0.1):
        if ended.is_set():
            connection.stop()
            return


while not ended.is_set():
    try:
        follow()
    except OSError as error:
        complain(error)
    ended.wait(0.25)
