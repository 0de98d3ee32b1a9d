"""The whole path on small sets that the package itself makes: simulate, train, find regions, score.

`stories.py` says which programs run with which options, and what they promise; `recipe.py` runs them, a process
each and independent ones at the same time, and reads the scores. The lines that a user sees are `report.py`'s.
"""
