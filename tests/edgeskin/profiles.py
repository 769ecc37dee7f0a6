"""ICC profiles made by hand: primaries adapted to D50 by Bradford, and curves of every type."""

import struct

import numpy as np
import numpy.typing as npt

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
PRIMARIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    "ProPhoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585)),
}


def fixed(*values: float) -> bytes:
    """Numbers as s15Fixed16."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return struct.pack(">4s4xIH", b"curv", 1, round(value * 256))


def table(points: npt.NDArray[np.float64]) -> bytes:
    values = np.rint(65535 * points).astype(">u2").tobytes()
    return struct.pack(">4s4xI", b"curv", len(points)) + values


def parametric(kind: int, *values: float) -> bytes:
    return struct.pack(">4s4xH2x", b"para", kind) + fixed(*values)


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def srgb_light(levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Linear light of sRGB, 0 to 1."""
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def columns(name: str) -> npt.NDArray[np.float64]:
    """The matrix (3, 3) from the linear light of these primaries to XYZ with white D50."""
    *primaries, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in PRIMARIES[name])
    matrix = np.transpose(primaries)
    matrix = matrix * np.linalg.solve(matrix, white)
    scale = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ matrix


def profile(
    name: str = "Display P3",
    curve: bytes = SRGB_CURVE,
    *,
    version: int = 4,
    space: bytes = b"RGB ",
    matrix: npt.NDArray[np.float64] | None = None,
    leave_out: bytes = b"",
) -> bytes:
    """A profile of a matrix and one curve for all channels."""
    matrix = columns(name) if matrix is None else matrix
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)}
    tags |= {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)} if version == 2 else {}
    for letter, column in zip(b"rgb", matrix.T, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ \0\0\0\0" + fixed(*column)
        tags[bytes([letter]) + b"TRC"] = curve
    tags.pop(leave_out, None)
    place = 132 + 12 * len(tags)
    entries = content = b""
    for signature, value in tags.items():
        entries += struct.pack(">4sII", signature, place + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sB3x4s4s4s", place + len(content), b"lcms", version, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    head = head.ljust(68, b"\0") + fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + content
