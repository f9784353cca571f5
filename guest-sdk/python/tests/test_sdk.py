import unittest

from wasmill import Handler, Projection, Reject, Retry, Upcaster, config, log
from wasmill.testing import Harness

# A plugin whose events say what to do.
warehouse = Projection(
    name="warehouse",
    version="0.1.0",
    collections=[{"name": "items"}, {"name": "sums"}],
    config=[{"name": "depot", "default": "Leith"}],
)


@warehouse.documents
def documents(event):
    return [("items", event.data["item"])] if event.type == "changed" else None


@warehouse.on("changed")
def changed(event, state):
    state.edit("items", event.data["item"], {"stock": 0})["stock"] += event.data["by"]


@warehouse.on("dropped")
def dropped(event, state):
    state.remove("items", event.data["item"])


@warehouse.on("copied")
def copied(event, state):
    state.put("items", event.data["item"] + "-copy", state.get("items", event.data["item"]) or {"stock": 0})


@warehouse.on("summed")
def summed(event, state):
    found = state.scan("items", event.data["item"])
    state.put("sums", event.data["item"], sum(document["stock"] for _, document in found))


@warehouse.on("aliased")
def aliased(event, state):
    # What `get` returns is a copy: changing it changes nothing.
    state.get("items", event.data["item"])["stock"] = -1


@warehouse.on("refused")
def refused(_event, _state):
    raise Retry("stock.refused", "not now", retry_after_ms=5, attributes={"depot": config.get("depot")})


@warehouse.on("odd")
def odd(_event, state):
    state.put("items", "odd", {"set": {1}})


@warehouse.on("logged")
def logged(event, _state):
    log.warn("low", item=event.data["item"], trace=event.details()["traceparent"], depot=config.get("depot"))


def event(kind, item=None, by=None, **rest):
    return {"stream": "stock-1", "type": kind, "data": {"item": item, "by": by}, **rest}


class Sdk(unittest.TestCase):
    def failure_of(self, host, events):
        with self.assertRaises(Exception) as raised:
            host.feed(events)
        return raised.exception

    def test_where_batches_end_does_not_show(self):
        items = ["a", "ab", "a-copy", "b", "b-copy", '日本 \0"\\']
        kinds = ["dropped", "copied", "summed", "changed", "changed", "changed"]
        spread = [(n * 2654435761 & 0xFFFFFFFF) >> 8 for n in range(2000)]
        events = [event(kinds[n % 6], items[(n >> 8) % len(items)], 1) for n in spread]
        folded = []
        for batch in (1, 2, 64, 2000):
            host = Harness(warehouse, batch=batch)
            host.feed(events)
            folded.append(host.documents)
        for other in folded:
            self.assertEqual(other, folded[0])

    def test_a_scan_crosses_pages_and_sees_what_its_batch_has_changed(self):
        host = Harness(warehouse)
        host.feed([event("changed", f"bolt-{n}", 1) for n in range(200)] + [event("summed", "bolt-")])
        self.assertEqual(host.get("sums", "bolt-"), 200)

    def test_what_get_returns_is_a_copy(self):
        host = Harness(warehouse)
        host.feed([event("changed", "nuts", 3), event("aliased", "nuts"), event("changed", "nuts", 1)])
        self.assertEqual(host.get("items", "nuts"), {"stock": 4})

    def test_a_failure_names_its_event_and_its_batch_leaves_nothing(self):
        host = Harness(warehouse, config={"depot": "Hull"})
        failure = self.failure_of(host, [event("changed", "nuts", 1), event("refused")])
        told = (failure.disposition, failure.code, failure.message, failure.retry_after_ms, failure.event_index)
        self.assertEqual(told, ("retry", "stock.refused", "not now", 5, 1))
        self.assertEqual((failure.attributes, host.documents), ({"depot": "Hull"}, {}))

    def test_whatever_else_is_raised_rejects_the_event_and_names_the_line(self):
        for bad in (event("changed"), {**event("changed"), "data": None}, event("odd"), event("dropped", 7)):
            failure = self.failure_of(Harness(warehouse), [event("changed", "nuts", 1), bad])
            self.assertEqual((failure.disposition, failure.code), ("reject", "plugin.exception"))
            self.assertEqual(failure.event_index, 1)
            self.assertRegex(failure.message, r"^TypeError: .* \(\w+\.py:\d+\)$")

    def test_the_log_has_its_fields_and_settings_their_defaults(self):
        host = Harness(warehouse)
        host.feed([event("logged", "nuts", details=[("traceparent", "00-1")])])
        level, message, fields = host.log[0]
        self.assertEqual((level.name, message), ("WARN", "low"))
        self.assertEqual(fields, [("item", "nuts"), ("trace", "00-1"), ("depot", "Leith")])

    def test_data_that_is_not_json_is_bytes(self):
        seen = []
        plugin = Projection(name="seen", version="1")
        plugin.on()(lambda event, state: seen.append((event.data, event.bytes, event.key, event.time_us)))
        time = "1970-01-01T00:00:01.000002+00:00"
        Harness(plugin).feed([{"stream": "s", "type": "t", "dataBase64": "AP8=", "key": "k", "time": time}])
        self.assertEqual(seen, [(None, b"\x00\xff", "k", 1_000_002)])

    def test_appends_name_their_cause_and_a_batch_that_fails_appends_nothing(self):
        echo = Handler(name="echo", version="0.1.0")

        @echo.on()
        def answer(event, _state, emit):
            if event.type == "bad":
                raise Reject("echo.bad", "no")
            emit("echoes", {"type": "first", "data": 1}, {"type": "second", "data": event.data})
            emit("others", {"type": "third", "data": None})

        host = Harness(echo)
        host.feed([{"stream": "s", "type": "a", "data": "x"}, {"stream": "s", "type": "b", "data": "y"}])
        told = [(event["cause"], event["stream"], event["type"]) for event in host.appended]
        once = [("echoes", "first"), ("echoes", "second"), ("others", "third")]
        self.assertEqual(told, [(cause, *rest) for cause in (0, 1) for rest in once])
        failure = self.failure_of(host, [{"stream": "s", "type": "a"}, {"stream": "s", "type": "bad"}])
        self.assertEqual((failure.code, len(host.appended)), ("echo.bad", 6))

    def test_an_upcaster_lifts_what_it_declares_and_fails_single_events(self):
        plugin = Upcaster(name="lifts", version="0.1.0")
        plugin.lift("a", 1, to_version=2)(lambda data, event: {**data, "x": data["y"]})
        plugin.lift("a", 2, to_version=1, to_type="b")(lambda data, event: event.stream)
        plugin.lift("d", 1, to_version=2)(lambda data, event: None)
        host = Harness(plugin)
        self.assertRegex(host.feed([{"stream": "s", "type": "d"}])[0]["failed"]["message"], "must return its data")
        self.assertEqual(host.descriptor["lifts"][1], {"type": "a", "version": 2, "toVersion": 1, "toType": "b"})
        given = [{"stream": "s", "type": "a", "data": {"y": 3}}, {"stream": "s", "type": "a", "schemaVersion": 2}]
        one, two, other, bad = host.feed(given + [{"stream": "s", "type": "c"}, {"stream": "s", "type": "a", "data": {}}])
        self.assertEqual(one, {"type": "a", "schemaVersion": 2, "data": {"y": 3, "x": 3}})
        self.assertEqual((two["type"], two["data"], other), ("b", "s", None))
        self.assertEqual(bad["failed"]["code"], "plugin.exception")


if __name__ == "__main__":
    unittest.main()
