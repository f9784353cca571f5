"""The plugins in Python against tests/plugin-suite; that the components do the same is shown by the host's tests."""

import json
import pathlib
import unittest

import user_statistics
import user_v1_to_v3
import welcome
from wasmill import Reject
from wasmill.testing import Harness

SUITE = pathlib.Path(__file__).parents[3] / "tests/plugin-suite"
EXPECTED = json.loads((SUITE / "expected.json").read_text())


def lines(name):
    given = [json.loads(line) for line in (SUITE / name).read_text().splitlines()]
    return [{name: value for name, value in event.items() if name != "contentType"} for event in given]


def lift(event):
    [lifted] = Harness(user_v1_to_v3.plugin).feed([event])
    if lifted is None or "failed" in lifted:
        return lifted or event
    return lift({**event, **lifted})


class Suite(unittest.TestCase):
    maxDiff = None

    def test_user_statistics(self):
        for batch in (1, 2, 256):
            host = Harness(user_statistics.plugin, batch=batch)
            host.feed([event for event in lines("events.jsonl") if event["type"].startswith("user.")])
            expected = EXPECTED["user-statistics"]
            self.assertEqual(host.all("statistics"), expected["statistics"])
            self.assertEqual(host.all("users"), expected["users"])

    def test_welcome(self):
        for batch in (1, 2, 256):
            host = Harness(welcome.plugin, batch=batch)
            host.feed([event for event in lines("events.jsonl") if event["type"] == "user.added"])
            told = [{name: event[name] for name in ("type", "schemaVersion", "key", "data")} for event in host.appended]
            self.assertEqual(told, EXPECTED["welcome"]["appended"])
            self.assertEqual(host.all("greeted"), EXPECTED["welcome"]["greeted"])

    def test_user_v1_to_v3(self):
        lifted = [(n + 1, lift(event), event) for n, event in enumerate(lines("events.jsonl"))]
        told = [
            {"line": n, "schemaVersion": new["schemaVersion"], "data": new["data"]}
            for n, new, event in lifted
            if new is not event
        ]
        self.assertEqual(told, EXPECTED["user-v1-to-v3"]["lifted"])

    def test_what_is_malformed_is_rejected(self):
        for module, types in ((user_statistics, "user."), (welcome, "user.added")):
            rejects = []
            for n, event in enumerate(lines("rejected.jsonl")):
                if event["type"].startswith(types):
                    try:
                        Harness(module.plugin).feed([event])
                    except Reject as failure:
                        self.assertEqual((failure.code, failure.event_index), ("user.malformed", 0))
                        rejects.append(n + 1)
            self.assertEqual(rejects, EXPECTED[module.plugin.descriptor["name"]]["rejects"])
        failed = [n + 1 for n, event in enumerate(lines("rejected.jsonl")) if "failed" in lift(event)]
        self.assertEqual(failed, EXPECTED["user-v1-to-v3"]["rejects"])


if __name__ == "__main__":
    unittest.main()
