"""What BasicSR 1.4.2 lets pass, hangs on or hides: each seam is one function of it, replaced by one that calls it."""

from maxl_sr.toolbox import datasets, files, models  # noqa: F401
