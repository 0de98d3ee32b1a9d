"""Rotations as products of elementary passive matrices."""

import numpy as np


def about_z(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def about_y(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def about_x(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def from_euler(rot, tilt, psi):
    return about_z(psi) @ about_y(tilt) @ about_z(rot)


def turn(axis, angle, point):
    """Rodrigues' formula on one vector, right-handed."""
    axis = np.asarray(axis, float) / np.linalg.norm(axis)
    along = axis * (axis @ point)
    return along + np.cos(angle) * (point - along) + np.sin(angle) * np.cross(axis, point)
