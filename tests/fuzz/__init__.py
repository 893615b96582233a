"""Fuzzing: inputs that nobody would write, against every reader and whole replays.

``make fuzz MINUTES=10 SEED=1`` runs it with bounds checked in compiled code. A finding is anything
but an answer or one line: another exception than CorrelatorError, more than 10 s, more than 2 GB,
an error that is more than a line, or two readers that disagree. It is made smaller and kept in
``found/``; one that is mended moves to ``samples/``, which tests read."""
