"""`python -m editgrpo` is `editgrpo`; `torchrun -m editgrpo train ...` needs it."""

from editgrpo.cli import main

if __name__ == "__main__":
    main()
