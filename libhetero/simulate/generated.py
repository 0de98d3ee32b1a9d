"""Old place of `libhetero.simulate.sets`."""

from libhetero.simulate.sets import assembly_of, mixture_of, motion_of

__all__ = ["assembly_of", "mixture_of", "motion_of"]
