"""Lifts user.added to the version that is published today."""

from users import malformed
from wasmill import Upcaster

plugin = Upcaster(
    name="user-v1-to-v3",
    version="1.0.0",
    description="Two names instead of one, and always a country",
)


@plugin.lift("user.added", 1, to_version=2)
def split_name(data, _event):
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise malformed("the name is not a string")
    first, _, last = data.pop("name").strip(" ").partition(" ")
    return {**data, "firstName": first, "lastName": last}


@plugin.lift("user.added", 2, to_version=3)
def add_country(data, _event):
    if not isinstance(data, dict):
        raise malformed("the data is not an object")
    country = data.pop("country", None)
    return {**data, "country": "unknown" if country is None else country}
