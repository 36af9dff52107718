"""What the clinical models have in common: where their weights lie, on which device they run, how
texts are batched, and how what was read from a text is remembered.

The models themselves stand where they are used: `reports/` (annotators, labelers), `rewards/`
(metrics). Nothing here loads torch on import.
"""
