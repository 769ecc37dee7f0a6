"""Pictures of skin with one lesion of known shape."""

import cv2
import numpy as np

SKIN = (225, 180, 160)
LESION = (95, 60, 45)


def drawn(shape: str, side: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """A picture of skin with one lesion, uint8 RGB (side, side, 3), and the lesion's mask (side, side)."""
    mask = np.zeros((side, side), np.uint8)
    middle, radius = side // 2, side // 4
    if shape == "circle":
        cv2.circle(mask, (middle, middle), radius, 1, cv2.FILLED)
    if shape == "ellipse":
        cv2.ellipse(mask, (middle, middle), (radius, radius // 2), 30, 0, 360, 1, cv2.FILLED)
    if shape == "half":
        cv2.ellipse(mask, (middle, middle), (radius, radius), 0, 0, 180, 1, cv2.FILLED)
    if shape == "edge":
        cv2.circle(mask, (middle, 0), radius, 1, cv2.FILLED)
    picture = np.full((side, side, 3), SKIN, np.uint8)
    picture[mask > 0] = LESION
    return picture, mask > 0
