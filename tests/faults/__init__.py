"""Faults injected into real workers, and what becomes of the others."""
