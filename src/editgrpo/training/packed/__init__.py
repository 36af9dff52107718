"""Whole groups in one row: packing, who sees whom, the pass, and the check of it."""
