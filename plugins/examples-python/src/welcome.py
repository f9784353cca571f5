"""Asks for a welcome, once for each user."""

from users import has_user, is_text, user_of
from wasmill import Handler, config, log

plugin = Handler(
    name="welcome",
    version="1.0.0",
    description="Asks for a welcome, once for each user",
    subscribes=[{"types": ["user.added"]}],
    collections=[{"name": "greeted", "description": "By id: who was welcomed, and when"}],
    config=[{"name": "greeting", "description": "The first word of a welcome", "default": "Welcome"}],
    capabilities=["append:outbox-welcome"],
)


@plugin.documents
def documents(event):
    return [("greeted", event.data["id"])] if has_user(event) else []


@plugin.on("user.added")
def added(event, state, emit):
    user = user_of(event)
    if state.get("greeted", user) is not None:
        return
    names = (event.data.get("firstName"), event.data.get("name"), user)
    text = f"{config.get('greeting')}, {next(filter(is_text, names))}!"
    data = {"id": user, "text": text}
    emit("outbox-welcome", {"type": "welcome.requested", "schemaVersion": 1, "key": user, "data": data})
    state.put("greeted", user, {"atUs": event.time_us})
    log.info("a welcome is asked for", user=user)
