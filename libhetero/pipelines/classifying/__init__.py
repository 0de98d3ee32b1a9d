"""Steps of e2hype_classify.py: the search, the maps, the files."""
