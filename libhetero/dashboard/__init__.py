"""Runs in a browser: a server on the user's own machine, and the page that it serves.

    recipe.py          from the command line to a server that listens
    app.py             which address answers what
    security.py        who may ask: token, cookie, host, origin; what a page may load
    runs.py            the runs that are shown, and where each stands
    columns.py         what is known of each particle, a column at a time
    images.py          particles, their model's projections and residuals
    volumes.py, regions.py, selections.py, live.py, compare.py
                       what their names say
    jobs.py            the programs that do the long work, one at a time
    static/            the page

The server computes nothing long itself and no JAX: programs of this package do, each in a process of its own.
docs/dashboard.md has the addresses, and what is done for safety.
"""
