"""Maps of particles with known poses: of a list or a run, of all of them or of each class."""
