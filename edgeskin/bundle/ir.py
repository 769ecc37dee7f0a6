"""A network as OpenVINO's intermediate representation (IR): two files, read when they have to be compiled."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class IR:
    """sha256: of xml and weights, in hex; what the network is known by. read: their bytes, xml first.

    A network that was compiled before and kept is known by these hashes, and then nothing is read.
    """

    sha256: tuple[str, str]
    read: Callable[[], tuple[bytes, bytes]]


def ir_of(xml: bytes, weights: bytes) -> IR:
    """Of bytes that are there already."""
    xml_sha256, weights_sha256 = (hashlib.sha256(part).hexdigest() for part in (xml, weights))
    return IR((xml_sha256, weights_sha256), lambda: (xml, weights))
