"""What a caller of the server can do wrong. `realtime.errors` gives each its HTTP face."""

from __future__ import annotations

from engines.errors import Fault


class OfferFault(Fault):
    """A session description that cannot be answered."""

    code = "offer"


class UnfitOffer(OfferFault):
    """A session description that is whole, but asks for what we do not have."""

    code = "offer-not-acceptable"
    status = 406


class NotAcceptable(Fault):
    """An answer is asked for in a form that the route does not give."""

    code = "accept"
    status = 406


class FragmentFault(Fault):
    """A trickle-ICE fragment that is none."""

    code = "fragment"
    status = 400


class NoTag(Fault):
    """A PATCH that does not say which ICE session it is for."""

    code = "tag-missing"
    status = 428


class WrongTag(Fault):
    """A PATCH for another ICE session."""

    code = "tag-wrong"
    status = 412


class NoRestart(Fault):
    """ICE restarts are not done."""

    code = "ice-restart"
    status = 422


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


class TooSlow(Fault):
    """A body that does not come."""

    code = "too-slow"
    status = 408
    again = True


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


class WrongSecret(Fault):
    """No secret, or a wrong one."""

    code = "secret"
    status = 401


class TooMany(Fault):
    """More than is kept at a time."""

    code = "too-many"
    status = 429
    again = True


class InUse(Fault):
    """Something that others need now."""

    code = "in-use"
    status = 409
    again = True


class UnknownItem(Fault):
    """No such recording or enrolment, or not any more."""

    code = "unknown"
    status = 404


class RequestFault(Fault):
    """A request that lacks something, or has it wrong."""

    code = "request"
    status = 400


class Internal(Fault):
    """A bug."""

    code = "internal"
    status = 500


class Unknown(Fault):
    """What the HTTP library refuses by itself."""

    code = "http"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Gone(Fault):
    """What was on a machine that is gone."""

    code = "gone"
    status = 410


class Silent(Fault):
    """A machine that does not answer now."""

    code = "silent"
    status = 503
    again = True
