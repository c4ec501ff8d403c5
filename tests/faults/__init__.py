"""The fault laboratory: indexes whose writers are killed, starved, cut short and lied to.

``python -m faults EXPERIMENT`` runs one experiment in a process that has the library of
``iofault.c`` preloaded and forks a child for each trial; the tests run them in short form,
``scripts/soak`` in full. Every experiment compares with what the oracle knows, and nothing in
hashret knows that it is watched.
"""
