"""EditGRPO: train chest X-ray report generators that are clinically right.

Importing this package loads neither torch nor TRL; the modules that need them are imported by their
full path.
"""

__version__ = "0.1.0"
