"""The whole path on small sets that the package itself makes: simulate, train, find regions, score.

`stories.py` says which programs run with which options, and what they promise; `recipe.py` runs them one after the
other, a process each, and reads the scores. The lines that a user sees are `report.py`'s.
"""
