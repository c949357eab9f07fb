"""The body that garments are cut for: its measures, a pose, and the way from centimetres to pixels.

Centimetres count from the pit of the neck: x to the picture's right, y down. The wearer's left is at the
picture's right, so side +1 is the wearer's left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from lookalike_service.wardrobe.arrays import Points, as_points
from lookalike_service.wardrobe.curves import limb

__all__ = ["ANKLE", "ARMPIT", "CROTCH", "HIP", "HIP_JOINT", "SHOULDER", "WAIST", "Body", "Figure", "Pose"]

SHOULDER, ARMPIT, WAIST, HIP, HIP_JOINT, CROTCH, KNEE, ANKLE = 3.5, 17.0, 37.0, 55.0, 62.0, 67.0, 105.0, 147.0
_UPPER_ARM, _FOREARM = 28.0, 26.0


@dataclass(frozen=True, slots=True)
class Body:
    """Half widths in centimetres of a body seen from the front."""

    shoulders: float = 18.0
    chest: float = 15.0
    waist: float = 12.2
    hips: float = 16.6
    limbs: float = 1.0

    def half(self, y: float | Points) -> npt.NDArray[np.float64]:
        """Half width of the torso at one height or several."""
        heights = (0.0, 8.0, ARMPIT, 26.0, WAIST, HIP, CROTCH + 3)
        widths = (
            self.shoulders * 0.86,
            self.chest * 1.02,
            self.chest,
            (self.chest + self.waist) / 2 + 0.4,
            self.waist,
            self.hips,
            self.hips * 0.98,
        )
        return np.interp(y, heights, widths)


@dataclass(frozen=True, slots=True)
class Pose:
    """Angles in degrees from straight down, outward positive; (wearer's left, wearer's right)."""

    upper_arms: tuple[float, float] = (12.0, 12.0)
    forearms: tuple[float, float] = (8.0, 8.0)
    thighs: tuple[float, float] = (3.0, 3.0)
    shins: tuple[float, float] = (2.0, 2.0)
    shin_lengths: tuple[float, float] = (1.0, 1.0)
    hip_shift: float = 0.0
    hip_tilt: float = 0.0
    shoulder_tilt: float = 0.0
    head_tilt: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A body in a pose at a place in the picture: `unit` pixels per centimetre, `origin` the pit of the neck."""

    unit: float = 1.0
    origin: tuple[float, float] = (0.0, 0.0)
    body: Body = field(default_factory=Body)
    pose: Pose = field(default_factory=Pose)
    worn: bool = False

    def moved(self, *, unit: float, origin: tuple[float, float]) -> Figure:
        """The same figure at another size and place."""
        return replace(self, unit=unit, origin=origin)

    def _shift(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.interp(y, (8.0, 30.0, HIP), (0.0, self.pose.hip_shift * 0.45, self.pose.hip_shift))

    def _tilt(self, y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        pose = self.pose
        degrees = np.interp(y, (10.0, WAIST, HIP, 100.0), (pose.shoulder_tilt, pose.hip_tilt * 0.5, pose.hip_tilt, 0.0))
        return np.radians(degrees)

    def torso(self, points: object) -> Points:
        """Pixels of torso points in centimetres; below the hips cloth hangs straight down."""
        p = as_points(points)
        x, y = p[:, 0], p[:, 1]
        tilt = self._tilt(y)
        across = self._shift(y) + x * np.cos(tilt)
        down = y + x * np.sin(tilt)
        return np.column_stack((self.origin[0] + self.unit * across, self.origin[1] + self.unit * down))

    def torso_inverse(self, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> tuple[object, object]:
        """Centimetres on the torso's cloth for pixel columns x (1, w) and rows y (h, 1)."""
        rows = (y.astype(np.float64).ravel() - self.origin[1]) / self.unit
        tilt = np.tan(self._tilt(rows)).astype(np.float32)[:, None]
        shift = self._shift(rows).astype(np.float32)[:, None]
        across = (x - np.float32(self.origin[0])) * np.float32(1 / self.unit) - shift
        return across, rows.astype(np.float32)[:, None] - across * tilt

    def shoulder(self, side: int) -> Points:
        """The joint of one arm, in pixels, (2,)."""
        joint: Points = self.torso([(side * self.body.shoulders, SHOULDER + 1.5)])[0]
        return joint

    def arm(self, side: int) -> Points:
        """The axis of one arm from shoulder to wrist, in pixels."""
        which = 0 if side > 0 else 1
        shoulder = self.shoulder(side)
        elbow = shoulder + self._reach(self.pose.upper_arms[which], side) * _UPPER_ARM * self.unit
        wrist = elbow + self._reach(self.pose.forearms[which], side) * _FOREARM * self.unit
        return limb(np.stack((shoulder, elbow, wrist)))

    def leg(self, side: int) -> Points:
        """The axis of one leg from hip joint to ankle, in pixels."""
        which = 0 if side > 0 else 1
        hip = self.torso([(side * self.body.hips * 0.52, HIP_JOINT)])[0]
        knee = hip + self._reach(self.pose.thighs[which], side) * (KNEE - HIP_JOINT) * self.unit
        shin = (ANKLE - KNEE) * self.pose.shin_lengths[which]
        ankle = knee + self._reach(self.pose.shins[which], side) * shin * self.unit
        return limb(np.stack((hip, knee, ankle)), softness=0.4)

    @staticmethod
    def _reach(degrees: float, side: int) -> Points:
        angle = np.radians(degrees)
        return np.array((side * np.sin(angle), np.cos(angle)))
