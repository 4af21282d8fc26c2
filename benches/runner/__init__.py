"""What `run.py` is made of: building, running, judging, reporting."""
