"""What a rule does to a packet: addresses and ports, marks."""
