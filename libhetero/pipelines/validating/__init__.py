"""Is what a run found there? Half-sets trained apart, sets in which nothing changes, and how particles were imaged."""
