"""Session descriptions and fragments of them, as text: what is checked before aiortc sees them."""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass, field

from aiortc import RTCIceCandidate, RTCIceParameters
from aiortc.sdp import SessionDescription, candidate_from_sdp

from realtime.server.candidates import Candidates, own_networks
from realtime.server.faults import FragmentFault, OfferFault, UnfitOffer

MOST_LINES = 1000
LONGEST_LINE = 2048
"""Characters of a line."""
_MOST_OF_A_KIND = 128
_MOST = {"m=": 3, "a=rtcp-fb:*": 8, "a=rtcp-fb": 256, "a=ssrc": 64, "a=candidate": MOST_LINES}
"""Lines of a kind that a section may have. Browsers send a few dozens."""
_MOST_MATCHED = 10_000
"""Lines of feedback times codecs, of one section: each is matched with each."""


@dataclass(frozen=True)
class Offer:
    """What we need to know of an offer."""

    sound: bool
    """Whether it has a section of sound."""
    username: str
    """Of its ICE session: the ufrag."""


def offer_of(offer: str) -> Offer:
    """Look at an offer. Raises OfferFault where it is none, UnfitOffer where there is no place for pictures."""
    if not _bounded(offer):
        raise OfferFault("The session description is larger than any that is needed.", "Send the SDP offer of one video and one audio.")
    try:
        description = SessionDescription.parse(offer)
        media = [section.kind for section in description.media]
        whole = all(section.dtls and section.dtls.fingerprints and _credentials(section.ice) for section in description.media)
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


def _credentials(ice: RTCIceParameters | None) -> bool:
    """Whether a name and a password are there, and as long as they are: both travel in each check."""
    return ice is not None and 4 <= len(ice.usernameFragment or "") <= 256 and 22 <= len(ice.password or "") <= 256


def _bounded(offer: str) -> bool:
    """Whether there is no more in an offer than is parsed at once."""
    lines = offer.splitlines()
    if len(lines) > MOST_LINES or any(len(line) > LONGEST_LINE for line in lines):
        return False
    counts: Counter[str] = Counter()
    for line in lines:
        if line.startswith("m="):
            counts = Counter({"m=": counts["m="] + 1})
            kinds = ["m="]
        else:
            name = line.partition(":")[0].rstrip() if line.startswith("a=") else line[:2]
            kinds = [name, "a=rtcp-fb:*"] if line.startswith("a=rtcp-fb:*") else [name]
            counts.update(kinds)
        if any(counts[kind] > _MOST.get(kind, _MOST_OF_A_KIND) for kind in kinds):
            return False
        if counts["a=rtcp-fb"] * counts["a=rtpmap"] > _MOST_MATCHED:
            return False
    return True


def open_ended(offer: str, candidates: Candidates | None = None) -> str:
    """The offer with those of its candidates that are taken, and without their end: the peer finds us, and is then a candidate
    that no list has. Those behind .local names, whose resolving takes seconds, are none that could be taken."""
    candidates = candidates or Candidates(own_networks())
    kept = []
    for line in offer.splitlines(keepends=True):
        name, _, value = line.rstrip().partition(":")
        if name == "a=end-of-candidates" or (name == "a=candidate" and not _taken(value, candidates)):
            continue
        kept.append(line)
    return "".join(kept)


def _taken(text: str, candidates: Candidates) -> bool:
    try:
        return candidates.take(candidate_from_sdp(text))
    except (AssertionError, ValueError, IndexError):
        return False


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
    if len(lines) > MOST_LINES or any(len(line) > LONGEST_LINE for line in lines):
        raise FragmentFault("The fragment is larger than any that is needed.", "Send a few candidates at a time.")
    for line in lines:
        if len(line) < 3 or not ("a" <= line[0] <= "z") or line[1] != "=":
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
