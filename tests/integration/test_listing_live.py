"""What iptables -L prints, read back against what iptables-save says of the same rules in the same
kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from correlator.firewall.languages.iptables_listing import parse_listing
from correlator.firewall.languages.iptables_save import parse_iptables_save
from tests.lab.net import Lab

pytestmark = pytest.mark.live

RULES = """*filter
:FORWARD ACCEPT [0:0]
:USER - [0:0]
-A FORWARD -p tcp -m tcp --sport 1:100 ! --dport 80 -j ACCEPT
-A FORWARD -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j ACCEPT
-A FORWARD ! -p tcp -j ACCEPT
-A FORWARD -p icmp -m icmp --icmp-type 3/4 -j ACCEPT
-A FORWARD -p icmp -m icmp ! --icmp-type 8 -j ACCEPT
-A FORWARD -p tcp -m multiport ! --dports 80,443 -j ACCEPT
-A FORWARD -m addrtype --src-type LOCAL --dst-type MULTICAST -j ACCEPT
-A FORWARD -m conntrack ! --ctstate INVALID -j ACCEPT
-A FORWARD -m conntrack --ctproto 6 ! --ctorigdst 1.2.3.0/24 -j ACCEPT
-A FORWARD -m state --state NEW -j ACCEPT
-A FORWARD -m mark ! --mark 0x1/0xff -j ACCEPT
-A FORWARD -m connmark --mark 0x1 -j ACCEPT
-A FORWARD -m length ! --length 100:1500 -j ACCEPT
-A FORWARD -m ttl --ttl-gt 64 -j ACCEPT
-A FORWARD -m iprange ! --src-range 1.2.3.4-1.2.3.6 --dst-range 9.9.9.9-9.9.9.10 -j ACCEPT
-A FORWARD -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT
-A FORWARD -m pkttype ! --pkt-type multicast -j ACCEPT
-A FORWARD -m comment --comment "office is: blocked" -j DROP
-A FORWARD -m tos --tos 0x10/0x3f -j ACCEPT
-A FORWARD -m dscp ! --dscp 0x0a -j ACCEPT
-A FORWARD -m limit --limit 3/min --limit-burst 10 -j ACCEPT
-A FORWARD -m recent --update --seconds 30 --hitcount 6 --name ssh --mask 255.255.255.255 --rsource -j DROP
-A FORWARD -m statistic --mode nth --every 3 --packet 1 -j ACCEPT
-A FORWARD -m connlimit --connlimit-above 10 --connlimit-mask 32 --connlimit-saddr -j DROP
-A FORWARD -m physdev --physdev-in eth0 -j ACCEPT
-A FORWARD ! -s 10.0.0.0/8 -d 1.2.3.4/32 ! -i eth+ -o docker0 -j ACCEPT
-A FORWARD -s 10.0.0.1/32
-A FORWARD -g USER
-A FORWARD -p gre -j ACCEPT
-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
-A FORWARD -j LOG --log-prefix "IPT drop: "
-A FORWARD -j NFLOG --nflog-prefix "abc d" --nflog-group 5
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:USER - [0:0]
-A PREROUTING -p tcp -j DNAT --to-destination 172.17.0.2-172.17.0.4:80-90
-A PREROUTING -p tcp -j REDIRECT --to-ports 8080
-A PREROUTING -m statistic --mode random --probability 0.33333333349 -j USER
-A POSTROUTING -p tcp -j MASQUERADE --to-ports 100-200
-A POSTROUTING -p tcp -j SNAT --to-source 1.2.3.4-1.2.3.5:1024-65535 --random
-A POSTROUTING -j MASQUERADE --random-fully
COMMIT
*mangle
:FORWARD ACCEPT [0:0]
-A FORWARD -j MARK --set-xmark 0x4000/0x4000
-A FORWARD -j MARK --set-xmark 0x0/0xffffff00
-A FORWARD -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff
-A FORWARD -j CONNMARK --set-xmark 0x5/0xf
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
-A FORWARD -j TTL --ttl-set 64
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j CT --notrack
-A PREROUTING -j TRACE
COMMIT
"""  # noqa: E501 - a text as it is read


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A host without containers."""
    with Lab({"docker0": 0}) as made:
        yield made


@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize("numbered", [True, False])
def test_listings_give_the_rules_of_the_save(lab: Lab, backend: str, numbered: bool) -> None:
    """Every rule that iptables -L -n -v shows is rebuilt as iptables-save writes it, on both
    backends."""
    lab.run("host", f"iptables-{backend}-restore", stdin=RULES)
    tables = ("filter", "nat", "mangle", "raw")
    words = [
        "-L",
        "-n",
        "-v",
        *(["--line-numbers"] if numbered else []),
        *(["-x"] if backend == "legacy" else []),
    ]
    text = "".join(lab.run("host", f"iptables-{backend}", "-t", table, *words) for table in tables)
    saved = parse_iptables_save(lab.run("host", f"iptables-{backend}-save")).in_usual_order()
    listing = parse_listing(text)
    assert listing.warnings == ()
    wanted = {
        (c.table, c.name): [r.text for r in c.rules] for c in saved.chains if c.table in tables
    }
    found = {
        (c.table, c.name): [r.text for r in c.rules]
        for c in listing.ruleset.in_usual_order().chains
    }
    assert {key: rules for key, rules in found.items() if rules} == {
        key: rules for key, rules in wanted.items() if rules
    }
    lab.run("host", f"iptables-{backend}-restore", stdin="".join(f"*{t}\nCOMMIT\n" for t in tables))
