"""Fault injection: damaged files and processes killed at random moments."""
