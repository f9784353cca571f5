"""What the projection and the handler know of users."""

from wasmill import Reject


def is_text(value):
    return isinstance(value, str) and value != ""


def has_user(event):
    return isinstance(event.data, dict) and is_text(event.data.get("id"))


def user_of(event):
    """The user's id."""
    if not has_user(event):
        raise malformed(f"{event.type} without the user's id")
    return event.data["id"]


def malformed(message):
    return Reject("user.malformed", message)
