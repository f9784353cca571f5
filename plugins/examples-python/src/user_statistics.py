"""How many users were added and removed, in all and by country."""

from users import has_user, is_text, malformed, user_of
from wasmill import Projection

plugin = Projection(
    name="user-statistics",
    version="1.0.0",
    description="Users added and removed, in all and by country",
    subscribes=[{"types": ["user.*"]}],
    collections=[
        {"name": "statistics", "description": "Under `all` and under `country.NO`: added, removed, current"},
        {"name": "users", "description": "By id: the users of now"},
    ],
)


@plugin.documents
def documents(event):
    return [("users", event.data["id"]), ("statistics", "all")] if has_user(event) else []


@plugin.on("user.added")
def added(event, state):
    user = user_of(event)
    country = event.data.get("country")
    country = "unknown" if country is None else country
    if not is_text(country):
        raise malformed("the country is not a name")
    if state.get("users", user) is None:
        state.put("users", user, {"country": country})
        count(state, country, "added")


@plugin.on("user.removed")
def removed(event, state):
    user = user_of(event)
    known = state.get("users", user)
    if known is not None:
        state.remove("users", user)
        count(state, known["country"], "removed")


def count(state, country, what):
    for key in ("all", f"country.{country}"):
        statistics = state.edit("statistics", key, {"added": 0, "removed": 0, "current": 0})
        statistics[what] += 1
        statistics["current"] = statistics["added"] - statistics["removed"]
