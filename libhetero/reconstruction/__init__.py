"""Maps from particles whose poses and CTFs are known, without any model of heterogeneity."""
