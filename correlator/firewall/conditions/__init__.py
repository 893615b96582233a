"""What a rule asks of a packet, by field: true, false or unknown."""
