"""What was read: packets, rules in their generations, counters."""
