"""Slow, obvious NumPy twins of the physics operators and the metrics, in float64."""
