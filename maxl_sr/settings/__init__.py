"""The sections of an option file that this package reads, as pydantic models, and the checks of those of BasicSR."""
