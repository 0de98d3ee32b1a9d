"""How amounts are written and how long work is told of: the same words and the same bar everywhere.

Light at import; the bar, `libhetero.telling.progress`, brings tqdm and is imported by its own name.
"""

from libhetero.telling.amounts import byte_size, duration, pace

__all__ = ["byte_size", "duration", "pace"]
