"""Adaptation at test time as option files describe it (Algorithm 3 of arXiv 2207.02066)."""

from maxl_sr.adaptation.adapter import Adaptation, Adapter
from maxl_sr.adaptation.checkpoint import check_rates, saved_rates

__all__ = ['Adaptation', 'Adapter', 'check_rates', 'saved_rates']
