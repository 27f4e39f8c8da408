"""The option sections for programs: the names of :mod:`maxl_sr.settings` that a user needs, in one place."""

from maxl_sr.settings.adaptation import MOST_STEPS, Adapt, Compute, GuardOptions, InnerLoop, VirtualStep
from maxl_sr.settings.losses import check_loss, check_objective
from maxl_sr.settings.section import Section, parse
from maxl_sr.settings.values import check_choice, check_count, check_keys, names

__all__ = ['MOST_STEPS', 'Adapt', 'Compute', 'GuardOptions', 'InnerLoop', 'Section', 'VirtualStep', 'check_choice',
           'check_count', 'check_keys', 'check_loss', 'check_objective', 'names', 'parse']
