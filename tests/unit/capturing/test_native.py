"""What a recording keeps of nft's listing, and which counter of the kernel's each number is."""

from __future__ import annotations

from correlator.capturing.native import listing_of
from correlator.dataset.listed_counters import NUMBERS

PRINTED = """table ip nat { # handle 1
	chain DOCKER { # handle 5
		counter packets 3 bytes 180 # handle 7
	}
}
# Warning: table ip nat is managed by iptables-nft, do not touch!
table inet site { # handle 2
	counter web { # handle 4
		packets 12 bytes 720
	}

	set seen { # handle 9
		type ipv4_addr
		flags dynamic,timeout
		elements = { 192.0.2.7 counter packets 5 bytes 300 timeout 1m expires 12s }
	}

	chain input { # handle 1
		type filter hook input priority filter; policy drop;
		tcp dport 80 counter name "web" # handle 5
		counter packets 7 bytes 420 limit rate 2/second counter packets 2 bytes 9 accept # handle 6
	}
}
"""


def test_counters_are_told_by_what_stays() -> None:
    """A rule's by its handle and their order in it, a named one by its name; those of a set's
    elements are none that is read; tables of iptables are left out."""
    listing = listing_of(PRINTED, {("ip", "nat")})
    assert listing.counters == (
        ("object", "inet", "site", "web", 0),
        None,
        ("rule", "inet", "site", 6, 0),
        ("rule", "inet", "site", 6, 1),
    )
    assert len(NUMBERS.findall(listing.text)) == len(listing.counters)
    assert "DOCKER" not in listing.text


def test_what_passes_is_no_other_ruleset() -> None:
    """Two listings that differ in counters and in what is left of timeouts are one text."""
    later = PRINTED.replace("packets 7 bytes 420", "packets 8 bytes 480").replace("12s", "9s500ms")
    kept = {("ip", "nat")}
    assert listing_of(later, kept) == listing_of(PRINTED, kept)
    assert listing_of(PRINTED.replace("drop", "accept"), kept) != listing_of(PRINTED, kept)


def test_no_table_is_no_text() -> None:
    """Where all tables are iptables' there is nothing to keep."""
    assert listing_of(PRINTED.partition("# Warning")[0], {("ip", "nat")}).text == ""
