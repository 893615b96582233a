"""What the counters say: the clocks' offset, open choices, the ledger."""
