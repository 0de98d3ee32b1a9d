"""A starting mixture: where a map has density, fitted to it, refined against particles."""
