"""One packet through the base chains of every hook: each path that rules and wire allow."""
