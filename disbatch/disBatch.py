"""`from disbatch import disBatch; disBatch.DisBatcher(…)`: where programs written for disBatch 3 find the class.

Run as a script (`python3 disbatch/disBatch.py …`) it is the program disBatch, as it was in disBatch 3.
"""

if __name__ == "__main__":
    import os
    import sys

    # Instead of the folder of this file, in which modules of disBatch have the names of others.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from disbatch.programs import disbatch

    disbatch()
else:
    from disbatch import DisBatcher

    __all__ = ["DisBatcher"]
