"""What a caller of the server can do wrong. `realtime.errors` gives each its HTTP face."""

from __future__ import annotations

from engines.errors import Fault


class OfferFault(Fault):
    """A session description that cannot be answered."""

    code = "offer"


class UnknownSession(Fault):
    """No such session, or not any more."""

    code = "unknown-session"
    status = 404


class WrongType(Fault):
    """A body of another content type than the route reads."""

    code = "content-type"
    status = 415


class TooLarge(Fault):
    """A body beyond the limit."""

    code = "too-large"
    status = 413


class NotHere(Fault):
    """A method that this resource does not have."""

    code = "method"
    status = 405


class Busy(Fault):
    """More than this session takes at a time."""

    code = "busy"
    status = 429
    again = True


class Full(Fault):
    """As many sessions as this server takes."""

    code = "full"
    again = True


class NotAllowed(Fault):
    """A request from another site or to another host."""

    code = "origin"
    status = 403


class UnknownRoute(Fault):
    """Nothing at this address."""

    code = "unknown-route"
    status = 404
