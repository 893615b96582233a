"""Clocks, generations, the ledger; kinds of packet walked once; open choices settled by wire and
counters."""
