"""Where a peer says that it can be reached, as far as it is believed: each address is sent some packets, whoever has it."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence

import ifaddr
from aiortc import RTCIceCandidate, RTCIceServer

MOST_CANDIDATES = 32
"""Candidates of one peer that are taken, of its offer and of all its fragments together."""
_KINDS = ("host", "srflx", "relay")
_MOST_PRIORITY = (1 << 32) - 1
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_THIS = ipaddress.ip_network("0.0.0.0/8")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/32")  # an IPv4 address stands in it, as in 2002::/16 and 2001::/32
_INNER = [
    ipaddress.ip_network(network)
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "fc00::/7")
]
"""Networks that are reached from within only."""


def own_networks(ice: Sequence[RTCIceServer] = ()) -> list[Network]:
    """The networks that this machine is on, and the addresses of its own ICE servers where they are named by their number."""
    networks: list[Network] = []
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            host = address.ip if isinstance(address.ip, str) else address.ip[0]
            networks.append(ipaddress.ip_network(f"{host}/{address.network_prefix}", strict=False))
    for server in ice:
        host = str(server.urls).partition(":")[2].partition("?")[0]
        for text in (host, host.rpartition(":")[0]):  # with a port, and without
            try:
                networks.append(ipaddress.ip_network(text.strip("[]")))
            except ValueError:  # a name
                continue
    return networks


def may_be_sent_to(address: str, networks: Collection[Network]) -> bool:
    """Whether a guest may have us send to an address: to one that all the world can reach, or to one of a network that we are on.

    Who is elsewhere in the same private network reaches us, and is answered there: that needs no candidate.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.scope_id or ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip.is_site_local or ip in _TRANSLATED
    ):
        return False
    if ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved or ip in _THIS:
        return False
    if any(ip in network for network in _INNER):
        return any(ip in network and (ip != network.broadcast_address or network.num_addresses == 1) for network in networks)
    return True


class Candidates:
    """Those of one peer: what is taken of them, and how many more."""

    def __init__(self, networks: Collection[Network]) -> None:
        self._networks, self._left = networks, MOST_CANDIDATES

    def take(self, candidate: RTCIceCandidate) -> bool:
        """Whether a candidate is used. Others are left out silently, as RFC 9725 wants."""
        fine = (
            self._left > 0
            and candidate.component == 1  # sound, pictures and their reports share one
            and candidate.protocol.lower() == "udp"
            and candidate.type in _KINDS
            and 0 < candidate.port < 1 << 16
            and 0 <= candidate.priority <= _MOST_PRIORITY
            and may_be_sent_to(candidate.ip, self._networks)
        )
        self._left -= fine
        return fine
