"""How amounts are written and how long work is told of: the same words and the same bar everywhere.

Light at import; the bar, `libhetero.telling.progress`, brings tqdm and is imported by name.
"""

from libhetero.telling.amounts import duration, size

__all__ = ["duration", "size"]
