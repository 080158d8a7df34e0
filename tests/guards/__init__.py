"""
Every named guard of the product is taken away in turn, and its scenario must turn red.

A test that passes with the guard and without it guards nothing. `python -m tests.guards` prints one line per guard and
ends with 1 if any scenario stays green; `--small` leaves out the runs with the guards in place, which the tests of
`tests/races` make anyway.
"""
