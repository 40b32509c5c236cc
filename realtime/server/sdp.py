"""Session descriptions and fragments of them, as text: what is checked before aiortc sees them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from aiortc import RTCIceCandidate
from aiortc.sdp import SessionDescription, candidate_from_sdp

from realtime.server.faults import FragmentFault, OfferFault, UnfitOffer


@dataclass(frozen=True)
class Offer:
    """What we need to know of an offer."""

    sound: bool
    """Whether it has a section of sound."""
    username: str
    """Of its ICE session: the ufrag."""


def offer_of(offer: str) -> Offer:
    """Look at an offer. Raises OfferFault where it is none, UnfitOffer where there is no place for pictures."""
    try:
        description = SessionDescription.parse(offer)
        media = [section.kind for section in description.media]
        whole = all(
            section.ice and section.ice.usernameFragment and section.dtls and section.dtls.fingerprints for section in description.media
        )
    except Exception as error:  # aiortc's parser raises anything at what is no SDP
        raise OfferFault(
            "The body is not a session description.", "Send an SDP offer, as RTCPeerConnection.createOffer makes it."
        ) from error
    if not media or not whole:
        raise OfferFault("The session description is incomplete.", "Send the whole SDP offer, with ICE credentials and fingerprint.")
    if media.count("video") != 1 or media.count("audio") > 1:
        raise UnfitOffer("The offer must have one video section and at most one of audio.", "Use addTransceiver('video') once.")
    ice = description.media[0].ice
    return Offer("audio" in media, ice.usernameFragment or "" if ice else "")


def open_ended(offer: str) -> str:
    """The offer without candidates behind .local names, whose resolving takes seconds, and without the end of its
    candidates: the peer finds us, and is then a candidate that no list has."""
    return re.sub(r"(?m)^a=(candidate:.*\.local .*|end-of-candidates.*)\r?\n", "", offer)


@dataclass(frozen=True)
class Fragment:
    """What a trickle-ICE fragment (RFC 8840) says."""

    username: str = ""
    candidates: list[RTCIceCandidate] = field(default_factory=list)
    """Those that can be used: UDP, with an address. Others are left out silently, as RFC 9725 wants."""


def fragment_of(text: str) -> Fragment:
    """Read a fragment. Raises FragmentFault for what is none."""
    username, middle, index = "", None, -1
    candidates: list[RTCIceCandidate] = []
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise FragmentFault("The fragment is empty.", "Send lines such as a=candidate:..., as RFC 8840 has them.")
    for line in lines:
        if not re.fullmatch(r"[a-z]=.+", line):
            raise FragmentFault("The body is not an SDP fragment.", "Send lines such as a=candidate:..., as RFC 8840 has them.")
        name, _, value = line[2:].partition(":")
        if line.startswith("m="):
            middle, index = None, index + 1
        elif name == "ice-ufrag":
            username = value
        elif name == "mid":
            middle = value
        elif name == "candidate":
            candidate = _candidate(value)
            if candidate is not None:
                candidate.sdpMid, candidate.sdpMLineIndex = middle, None if middle is not None else max(index, 0)
                candidates.append(candidate)
    return Fragment(username, candidates)


def _candidate(text: str) -> RTCIceCandidate | None:
    """A candidate, or None where it cannot be used. Raises FragmentFault."""
    try:
        candidate = candidate_from_sdp(text)
    except (AssertionError, ValueError, IndexError) as error:
        raise FragmentFault("The fragment has a candidate that is none.", "Send it as the browser gives it.") from error
    try:
        ipaddress.ip_address(candidate.ip)
    except ValueError:
        return None
    return candidate if candidate.protocol.lower() == "udp" and candidate.port else None
