"""What a run takes, from shapes alone: parameters, operations, bytes, and seconds to expect.

Nothing here imports torch, and nothing is measured. Counts are held to the real models in
tests/training/estimate.
"""
