"""`disbatch-report`: what a run, or a chain of resumed runs, was like, from its status files, afterwards or meanwhile."""
