"""How far a result lies from the truth; every number's definition stands in its docstring.

Arrays in, numbers out: nothing here knows a model or a file. One metric per module: `fsc`,
`chamfer`, `viou` (with `threshold`), `amplitude`, `motion`, `labels`, `regions`.
"""
