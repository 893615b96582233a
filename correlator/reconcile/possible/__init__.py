"""What each packet may have been, and the ways that rules and wire leave it."""
