"""Packets to connections as conntrack sees them, joined across NAT and interfaces."""
