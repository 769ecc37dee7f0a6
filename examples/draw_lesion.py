"""Draw a synthetic dermoscopy picture: no patient, no photo, nothing medical.

    python examples/draw_lesion.py --class MEL --seed 0 --size 600 --out examples/lesion.jpg

Each of the eight ISIC 2019 classes looks as textbooks describe it, so that tests can build a small data set
and a newcomer has something to run. A network's answer on a drawing does not show how well it reads skin.

Skin reflects light, and pigments in layers over it absorb it (Beer-Lambert): melanin near the surface looks
brown, deep melanin blue, blood red; keratin and scars scatter white.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Map = npt.NDArray[np.floating]

# Absorbance of one unit of pigment in red, green and blue.
MELANIN = np.array([0.46, 1.00, 1.52], np.float32)
DEEP_MELANIN = np.array([1.05, 0.78, 0.38], np.float32)
BLOOD = np.array([0.22, 1.15, 0.85], np.float32)
HAIR = np.array([0.66, 0.74, 0.78], np.float32)
WHITE = np.array([0.97, 0.93, 0.90], np.float32)
SKIN_TONES = np.array(
    [[0.90, 0.74, 0.70], [0.88, 0.70, 0.62], [0.84, 0.72, 0.73], [0.86, 0.66, 0.54], [0.92, 0.80, 0.75]],
    np.float32,
)


class Canvas:
    """Pigment maps of shape (size, size), in units of absorbance, and the brushes that fill them.

    Lengths are fractions of the picture's side; x and y run from -0.5 to 0.5.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        """Start with empty maps of size pixels a side; `rng` decides what the brushes paint."""
        self.rng = rng
        self.size = size
        axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
        self.x, self.y = axis[None, :], axis[:, None]
        self.melanin, self.deep, self.blood, self.white = np.zeros((4, size, size), np.float32)

    def noise(self, cells: int, octaves: int = 1) -> Map:
        """Return smooth noise, mean 0, deviation about 1, with features of 1 / cells, halved per octave."""
        total = np.zeros((self.size, self.size), np.float32)
        for octave in range(octaves):
            n = cells * 2**octave
            if n > self.size:
                break
            coarse = self.rng.standard_normal((n + 3, n + 3)).astype(np.float32)
            total += cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_CUBIC) * 0.6**octave
        return total

    def blob(
        self, radius: float, center: tuple[float, float] = (0, 0), aspect: float = 1.0, rough: float = 0.1
    ) -> Map:
        """Return the depth in an irregular ellipse: 1 at its centre, 0 on its border, negative outside."""
        angle = self.rng.uniform(0, np.pi)
        dx, dy = self.x - center[0], self.y - center[1]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        distance = np.sqrt((along / aspect) ** 2 + (across * aspect) ** 2)
        scale = max(3, round(1.2 / radius))
        return np.asarray(1 - distance / radius + rough * self.noise(scale, 4))

    def anywhere(self, reach: float) -> tuple[float, float]:
        """Draw a random point at most `reach` from the centre, rarely near it."""
        angle, distance = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.5, 1) * reach
        return distance * np.cos(angle), distance * np.sin(angle)

    def grid_points(self, cell: float) -> npt.NDArray[np.float32]:
        """Draw jittered points of a hexagonal grid, in pixels: (n, 2)."""
        step = max(cell * self.size, 2.0)
        count = int(self.size / step) + 3
        column, row = np.meshgrid(np.arange(count), np.arange(int(count * 1.16)))
        points = np.stack([column + 0.5 * (row % 2) - 1, row * 0.866 - 1], axis=-1).reshape(-1, 2)
        jittered = points + self.rng.normal(0, 0.17, points.shape)
        return np.asarray(jittered * step, dtype=np.float32)

    def mesh(self, cell: float, pull: float = 0.18) -> Map:
        """Draw a net, irregular by `pull`: 0 in the middle of a hole, about 1 on the lines between holes."""
        seeds = np.full((self.size, self.size), 255, np.uint8)
        points = self.grid_points(cell).astype(int)
        points = points[((points >= 0) & (points < self.size)).all(axis=1)]
        seeds[points[:, 1], points[:, 0]] = 0
        to_seed = np.asarray(cv2.distanceTransform(seeds, cv2.DIST_L2, 3), dtype=np.float32)
        distance = to_seed / max(0.58 * cell * self.size, 1)
        # Distorting the regular net makes its holes differ in size and shape.
        x, y = (
            ((axis + pull * cell * self.noise(round(0.35 / cell), 2) + 0.5) * self.size).astype(np.float32)
            for axis in (self.x, self.y)
        )
        net = cv2.remap(distance, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return np.asarray(np.clip(net, 0, 1.2), dtype=np.float32)

    def spots(self, where: Map, cell: float, radius: float, share: float) -> Map:
        """Draw round spots, 0 to 1, at a share of the grid points where `where` is positive."""
        stamp = np.zeros((self.size, self.size), np.uint8)
        for px, py in self.grid_points(cell):
            inside = 0 <= px < self.size and 0 <= py < self.size and where[int(py), int(px)] > 0
            if inside and self.rng.random() < share:
                extent = max(radius * self.size * self.rng.uniform(0.4, 1.4), 0.5)
                level = int(self.rng.uniform(150, 255))
                center = (round(px * 16), round(py * 16))
                cv2.circle(stamp, center, round(extent * 16), level, -1, cv2.LINE_AA, 4)
        return self.soften(stamp, radius * 0.4)

    def strokes(self, paths: list[npt.NDArray[np.float32]], widths: list[float]) -> Map:
        """Draw lines along paths of (n, 2) points, 0 to 1."""
        stamp = np.zeros((self.size, self.size), np.uint8)
        for path, width in zip(paths, widths, strict=True):
            pixels = np.rint((path + 0.5) * self.size * 16).astype(np.int32)
            cv2.polylines(stamp, [pixels], False, 255, max(1, round(width * self.size)), cv2.LINE_AA, 4)
        return self.soften(stamp, 0.0008)

    def soften(self, stamp: Image, sigma: float) -> Map:
        """Blur a stamp (0 to 255) by sigma and scale it to 0 to 1."""
        blurred = cv2.GaussianBlur(stamp, (0, 0), max(sigma * self.size, 0.4))
        return np.asarray(blurred, dtype=np.float32) / 255

    def walk(
        self, start: tuple[float, float], heading: float, length: float, bend: float
    ) -> npt.NDArray[np.float32]:
        """Draw a winding path of 24 points: (24, 2)."""
        turns = heading + self.rng.normal(0, 3 * bend) * np.linspace(0, 1, 24)
        turns += np.cumsum(self.rng.normal(0, bend, 24))
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * (length / 24)
        return np.asarray(start + np.cumsum(steps, axis=0), dtype=np.float32)

    def vessels(self, start: tuple[float, float], heading: float, length: float, width: float) -> Map:
        """Draw a vessel that branches like a tree, each branch thinner than its stem."""
        paths: list[npt.NDArray[np.float32]] = []
        widths: list[float] = []
        queue = [(start, heading, length, width)]
        while queue:
            start, heading, length, width = queue.pop()
            path = self.walk(start, heading, length, 0.16)
            paths.append(path)
            widths.append(width)
            if width > 0.0025:
                for side in (-1, 1):
                    fork = path[self.rng.integers(8, 24)]
                    turn = heading + side * self.rng.uniform(0.4, 1.0)
                    queue.append(((fork[0], fork[1]), turn, length * 0.7, width * 0.62))
        return self.strokes(paths, widths)


def edge(depth: Map, width: float | Map) -> Map:
    """Return 0 outside to 1 inside, over a border of the given width (in units of depth)."""
    return np.asarray(np.clip(depth / width + 0.5, 0, 1), dtype=np.float32)


def melanoma(c: Canvas) -> None:
    """Asymmetric, ragged, several colours, broad network, dark blotch, blue-white veil, scar."""
    depth = c.blob(c.rng.uniform(0.27, 0.34), c.anywhere(0.04), c.rng.uniform(1.1, 1.35), 0.13)
    depth = np.maximum(depth, c.blob(c.rng.uniform(0.15, 0.2), c.anywhere(0.2), 1.2, 0.16) * 0.6)
    # The border is cut off in one place and fades away in another.
    body = edge(depth, 0.10 + 0.5 * edge(c.noise(3), 3))
    net = c.mesh(0.022, 0.4) ** 2.5
    c.melanin += body * np.clip(0.46 + 0.20 * c.noise(4, 5), 0.12, 2)
    c.melanin += body * net * np.clip(0.35 + 0.45 * c.noise(4, 2), 0, 1.2) * 0.8
    blotch = edge(c.blob(0.13, c.anywhere(0.15), 1.3, 0.25), 0.9) * body
    c.melanin += 1.1 * blotch
    c.deep += 0.5 * blotch
    veil = edge(c.blob(0.14, c.anywhere(0.13), 1.2, 0.22), 1.1) * body
    c.melanin *= 1 - 0.6 * veil
    c.deep += veil * (0.62 + 0.08 * c.noise(12, 3))
    c.white += 0.16 * veil
    scar = edge(c.blob(0.08, c.anywhere(0.16), 1.3, 0.25), 1.0) * body
    c.melanin *= 1 - 0.7 * scar
    c.white += scar * (0.26 + 0.05 * c.noise(20, 2))
    c.blood += 0.25 * body * edge(c.noise(4, 2), 1.5)
    c.melanin += 1.0 * c.spots(np.minimum(depth - 0.02, c.noise(4) - 0.3), 0.024, 0.0055, 0.45)
    c.deep += 0.6 * c.spots(np.minimum(depth - 0.1, c.noise(4) - 0.5), 0.018, 0.003, 0.4)


def nevus(c: Canvas) -> None:
    """Round, even brown, a regular network that thins out towards the border."""
    depth = c.blob(c.rng.uniform(0.23, 0.34), c.anywhere(0.03), c.rng.uniform(1.0, 1.15), 0.05)
    body = edge(depth, 0.3)
    c.melanin += body * (0.30 + 0.26 * np.clip(depth, 0, 1) + 0.05 * c.noise(8, 3))
    c.melanin += body * 0.62 * c.mesh(0.020) ** 2.2 * np.clip(1.1 - 0.6 * depth, 0, 1)
    c.melanin += 0.5 * c.spots(depth - 0.03, 0.026, 0.004, 0.1)
    c.blood += 0.10 * body


def basal_cell_carcinoma(c: Canvas) -> None:
    """Pink and translucent, branching vessels in focus, blue-grey nests."""
    depth = c.blob(c.rng.uniform(0.27, 0.36), c.anywhere(0.03), 1.15, 0.12)
    body = edge(depth, 0.35)
    c.blood += body * (0.24 + 0.06 * c.noise(5, 3))
    c.white += body * np.clip(0.22 + 0.08 * c.noise(6, 3), 0, 1)
    for _ in range(c.rng.integers(4, 8)):
        nest = edge(c.blob(c.rng.uniform(0.025, 0.055), c.anywhere(0.2), 1.2, 0.2), 0.6) * body
        c.deep += 0.85 * nest
        c.melanin += 0.25 * nest
    c.deep += 0.6 * c.spots(depth - 0.1, 0.05, 0.006, 0.15)
    for _ in range(4):
        x, y = c.anywhere(0.33)
        tree = c.vessels((x, y), np.arctan2(-y, -x) + c.rng.normal(0, 0.4), 0.28, 0.008)
        c.blood += 0.75 * tree * edge(depth + 0.15, 0.4)


def actinic_keratosis(c: Canvas) -> None:
    """Strawberry: red between pale follicles, without a clear border, under white scales."""
    depth = c.blob(c.rng.uniform(0.38, 0.46), c.anywhere(0.05), 1.15, 0.2)
    body = edge(depth, 0.9)
    c.blood += body * (0.25 + 0.45 * c.mesh(0.055) ** 1.5 + 0.08 * c.noise(8, 3))
    c.white += 0.5 * body * c.spots(depth, 0.055, 0.010, 0.7)
    c.melanin += body * np.clip(0.12 + 0.12 * c.noise(5, 3), 0, 1)
    scales = edge(c.noise(9, 4) - 1.0, 0.6) * edge(c.noise(40, 3), 1.5)
    c.white += 0.7 * body * scales


def benign_keratosis(c: Canvas) -> None:
    """Waxy, cut off sharply, with ridges, white milia and dark plugs."""
    depth = c.blob(c.rng.uniform(0.26, 0.36), c.anywhere(0.04), c.rng.uniform(1.05, 1.3), 0.11)
    body = edge(depth, 0.05)
    ridges = np.exp(-((c.noise(16, 2) / 0.35) ** 2))
    c.melanin += body * (0.42 + 0.10 * c.noise(6, 4) - 0.22 * ridges)
    c.melanin += 0.22 * body * edge(0.16 - depth, 0.2)
    c.white += 0.12 * body
    c.melanin += 1.5 * body * c.spots(depth - 0.08, 0.07, 0.010, 0.4)
    milia = c.spots(depth - 0.08, 0.06, 0.008, 0.4)
    c.melanin *= 1 - 0.8 * milia
    c.white += 0.6 * milia


def dermatofibroma(c: Canvas) -> None:
    """A white patch in the middle of a delicate brown network that fades into the skin."""
    center = c.anywhere(0.03)
    depth = c.blob(c.rng.uniform(0.26, 0.34), center, 1.1, 0.06)
    body = edge(depth - 0.1, 0.7)
    c.melanin += body * (0.28 + 0.5 * c.mesh(0.019) ** 2.5 + 0.05 * c.noise(6, 3))
    c.blood += 0.16 * body
    patch = edge(c.blob(c.rng.uniform(0.12, 0.16), center, 1.1, 0.16), 0.8)
    c.melanin *= 1 - 0.9 * patch
    c.white += patch * np.clip(0.6 + 0.08 * c.noise(30, 2), 0, 1)


def vascular_lesion(c: Canvas) -> None:
    """Red to purple lacunae packed together, parted by pale lines, with a sharp border."""
    depth = c.blob(c.rng.uniform(0.20, 0.32), c.anywhere(0.04), c.rng.uniform(1.0, 1.25), 0.08)
    body = edge(depth, 0.06)
    cell = c.rng.uniform(0.055, 0.08)
    lacunae = 1 - edge(c.mesh(cell) - 0.72, 0.3)
    c.blood += body * (0.75 + 0.65 * lacunae + 0.15 * c.noise(5, 3))
    c.deep += body * lacunae * np.clip(0.22 + 0.22 * c.noise(6, 2), 0, 1)
    c.white += 0.12 * body * (1 - lacunae)


def squamous_cell_carcinoma(c: Canvas) -> None:
    """Red, with a white to yellow mass of keratin, dotted vessels around it and a blood crust."""
    depth = c.blob(c.rng.uniform(0.30, 0.38), c.anywhere(0.03), 1.15, 0.16)
    body = edge(depth, 0.4)
    c.blood += body * (0.48 + 0.12 * c.noise(6, 4))
    c.blood += 1.0 * c.spots(depth - 0.05, 0.028, 0.0045, 0.75)
    c.melanin += body * np.clip(0.15 + 0.12 * c.noise(4, 3), 0, 1)
    mass = edge(c.blob(c.rng.uniform(0.14, 0.19), c.anywhere(0.06), 1.25, 0.28), 0.35)
    c.blood *= 1 - 0.75 * mass
    c.melanin += 0.10 * mass
    c.white += mass * np.clip(0.72 + 0.14 * c.noise(22, 3), 0, 1)
    crust = edge(c.blob(0.05, c.anywhere(0.1), 1.3, 0.35), 0.5)
    c.blood += 1.3 * crust
    c.melanin += 0.8 * crust
    c.white *= 1 - crust


STYLES: dict[str, Callable[[Canvas], None]] = {
    "MEL": melanoma,
    "NV": nevus,
    "BCC": basal_cell_carcinoma,
    "AK": actinic_keratosis,
    "BKL": benign_keratosis,
    "DF": dermatofibroma,
    "VASC": vascular_lesion,
    "SCC": squamous_cell_carcinoma,
}


def skin(c: Canvas) -> Map:
    """Draw bare skin, reflectance 0 to 1, (size, size, 3): tone, mottling, furrows and pores."""
    weights = c.rng.dirichlet(np.full(len(SKIN_TONES), 0.5)).astype(np.float32)
    redness = 0.05 + 0.035 * c.noise(4, 4)
    furrows = np.exp(-((c.noise(28, 2) / 0.22) ** 2)) * edge(c.noise(6) + 0.6, 2)
    brown = 0.04 + 0.020 * c.noise(7, 6) + 0.03 * furrows + 0.012 * c.noise(110, 2)
    brown += 0.09 * c.spots(c.noise(5) + 0.4, 0.04, 0.003, 0.3)
    brown += 0.10 * np.clip(c.noise(9, 4) - 1.4, 0, 1)
    absorbed = redness[..., None] * BLOOD + brown[..., None] * MELANIN
    return np.asarray((weights @ SKIN_TONES) * np.exp(-absorbed), dtype=np.float32)


def hairs(c: Canvas) -> Map:
    """Draw a few hairs in about the same direction, 0 to 1."""
    heading = c.rng.uniform(0, 2 * np.pi)
    count = int(c.rng.integers(0, 6))
    paths = [
        c.walk(c.anywhere(0.6), heading + c.rng.normal(0, 0.35), c.rng.uniform(0.25, 0.8), 0.025)
        for _ in range(count)
    ]
    return c.strokes(paths, list(c.rng.uniform(0.0012, 0.0034, count)))


def draw_lesion(label: str, rng: np.random.Generator, size: int) -> Image:
    """Draw a synthetic lesion.

    Args:
        label: A class of ISIC 2019.
        rng: Decides everything; the same state gives the same drawing.
        size: Pixels a side.

    Returns:
        uint8 RGB (size, size, 3).
    """
    c = Canvas(rng, size)
    reflectance = skin(c)
    STYLES[label](c)
    absorbed = sum(
        np.clip(layer, 0, 3)[..., None] * pigment
        for layer, pigment in ((c.melanin, MELANIN), (c.deep, DEEP_MELANIN), (c.blood, BLOOD))
    )
    reflectance = reflectance * np.exp(-absorbed)
    white = np.clip(c.white, 0, 0.9)[..., None]
    reflectance += (WHITE - reflectance) * white
    reflectance *= 1 - hairs(c)[..., None] * HAIR
    light = 1.04 - rng.uniform(0.3, 0.75) * (c.x**2 + c.y**2) + 0.1 * (rng.uniform(-1, 1) * c.x)
    picture = reflectance * light[..., None] * rng.uniform(0.96, 1.04, 3).astype(np.float32)
    picture += rng.normal(0, 0.008, picture.shape).astype(np.float32)
    return np.clip(picture * 255, 0, 255).astype(np.uint8)


def main() -> None:
    """Draw one lesion into a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("lesion.jpg"))
    parser.add_argument("--class", dest="label", choices=STYLES, default="MEL")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=600)
    options = parser.parse_args()
    picture = draw_lesion(options.label, np.random.default_rng(options.seed), options.size)
    _, encoded = cv2.imencode(options.out.suffix, picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    options.out.write_bytes(encoded.tobytes())


if __name__ == "__main__":
    main()
